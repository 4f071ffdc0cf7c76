"""Reads infra/: YAML documents, and a compose file with its variables filled in."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
SECRETS = {
    "POSTGRES_PASSWORD": "aaaa1111",
    "S3_ACCESS_KEY": "bbbb2222",
    "S3_SECRET_KEY": "cccc3333",
    "PREFECT_AUTH": "user:dddd4444",
}
"""What the tests put into `.env`."""

_VARIABLE = re.compile(r"\$\$|\$\{(\w+)(?::\?[^}]*)?\}")


def documents(path: Path) -> list[dict[str, Any]]:
    """Return the YAML documents of a file."""
    return [one for one in yaml.safe_load_all(path.read_text("utf-8")) if one]


def manifests() -> list[dict[str, Any]]:
    """Return what `kubectl apply --kustomize infra/kubernetes` makes, without the generated."""
    folder = INFRA / "kubernetes"
    (kustomization,) = documents(folder / "kustomization.yaml")
    return [one for name in kustomization["resources"] for one in documents(folder / name)]


def pods() -> dict[str, dict[str, Any]]:
    """Return the pods of the workloads, by the workload's name."""
    kinds = ("Deployment", "StatefulSet")
    found = [one for one in manifests() if one["kind"] in kinds]
    return {one["metadata"]["name"]: one["spec"]["template"]["spec"] for one in found}


def compose(variables: dict[str, str]) -> dict[str, Any]:
    """Return the compose file as Docker reads it, with `${NAME}` filled in and `$$` as `$`."""

    def fill(match: re.Match[str]) -> str:
        return variables[match[1]] if match[1] else "$"

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(item) for key, item in value.items()}
        if isinstance(value, list):
            return [filled(item) for item in value]
        return _VARIABLE.sub(fill, value) if isinstance(value, str) else value

    # In the tree, not in the text: a value must not be able to change what the file says.
    (tree,) = documents(INFRA / "compose.yaml")
    result: dict[str, Any] = filled(tree)
    return result


def variables_of(text: str) -> set[str]:
    """Return the names of the variables that a compose file uses."""
    return {match[1] for match in _VARIABLE.finditer(text) if match[1]}


def read_json(path: Path) -> Any:
    """Return the JSON in a file."""
    return json.loads(path.read_text("utf-8"))
