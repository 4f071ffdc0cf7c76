"""The Dockerfile, read instruction by instruction; nothing is built."""

from __future__ import annotations

import fnmatch
import re
import tomllib

from tests.infra.reading import INFRA, ROOT

KNOWN = {"FROM", "ENV", "RUN", "WORKDIR", "COPY", "USER", "CMD", "ARG", "VOLUME"}


def instructions() -> list[tuple[str, str]]:
    """Return the instructions with their continued lines joined."""
    lines = (INFRA / "Dockerfile").read_text("utf-8").splitlines()
    text = re.sub(r"\\\n\s*", "", "\n".join(line for line in lines if not line.startswith("#")))
    return [
        (word, rest)
        for word, _, rest in (line.partition(" ") for line in text.splitlines() if line)
    ]


def stages() -> dict[str, list[tuple[str, str]]]:
    """Return the instructions of each stage by its name."""
    found: dict[str, list[tuple[str, str]]] = {}
    for word, rest in instructions():
        if word == "FROM":
            found[rest.split(" AS ")[1]] = current = []
        current.append((word, rest))
    return found


def test_every_instruction_is_one() -> None:
    assert {word for word, _ in instructions()} <= KNOWN


def test_the_base_is_pinned_and_every_other_stage_builds_on_it() -> None:
    origins = [rest.split(" AS ")[0] for word, rest in instructions() if word == "FROM"]
    assert re.fullmatch(r"python:3\.11-slim-\w+", origins[0])
    assert set(origins[1:]) == {"base"}


def test_no_image_runs_as_root() -> None:
    for name in ("servers", "sparring"):
        *_, user = [rest for word, rest in stages()[name] if word == "USER"]
        assert int(user) > 0, name
        last_run = max(n for n, (word, _) in enumerate(stages()[name]) if word == "RUN")
        assert ("USER", user) in stages()[name][last_run:], name


def test_what_is_copied_is_there_and_let_through() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split("\n")
    through = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    copied = {name for word, rest in instructions() if word == "COPY" for name in rest.split()[:-1]}
    assert copied == through
    assert all((ROOT / name).exists() for name in copied)
    assert not [name for name in copied if fnmatch.fnmatch(name, "*.env") or name == "data"]


def test_torch_comes_first_and_everything_is_pinned() -> None:
    installs = [rest for word, rest in stages()["sparring"] if "pip install" in rest]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    assert installs[0].endswith(f"torch=={pinned['torch']}")
    assert all("-c constraints.txt" in one or "--no-deps" in one for one in installs)
    servers = next(rest for word, rest in stages()["servers"] if "pip install" in rest)
    wanted = dict(re.findall(r"(\w+)==([\d.]+)", servers))
    assert wanted.keys() == {"prefect", "mlflow", "boto3"}
    assert all(pinned[name] == version for name, version in wanted.items())
    for bound in re.findall(r'"([^"]+)"', servers):
        assert bound in project["dependencies"], bound


def test_no_secret_and_no_argument_that_could_hold_one() -> None:
    words = [rest for word, rest in instructions() if word in ("ARG", "ENV")]
    assert not re.search("PASSWORD|SECRET|TOKEN|ACCESS_KEY", "\n".join(words))
