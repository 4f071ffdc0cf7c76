"""What a registered model points to: where its weights lie, what they are, and who can fetch them.

MLflow keeps no weights. This is all that its loader is told of them, in plain values.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from tasks.stages.manifest import artifact_folder
from tasks.storage.errors import CorruptError
from tasks.storage.files import read_json
from tasks.storage.home import Home
from tasks.tracking.remote.base import Remote

READER = "tasks.stages.export.registered_models"
"""The module that the loader asks for weights, by its name."""


def model_pointer(
    home: Home, remote: Remote | None, reference: str, digest: str, title: str, produces: str
) -> dict[str, Any]:
    """Return what is to be said of a model.

    Args:
        home: The home that holds it; its config is read if it is there.
        remote: The remote that may hold it too.
        reference: `STAGE/KEY`.
        digest: DVC's md5 of its folder.
        title: What people call it.
        produces: The kind of model that its stage makes.

    Returns:
        The arguments, `reader`, `folder`, and of its config `model_type`, `max_new_tokens` (0: it
        does not say) and `roles`: what it can be used as, for a TQR may be both kinds at once.
    """
    stage, _, key = reference.partition("/")
    folder = artifact_folder(home, stage, key)
    config, generation, tqr = (
        _read(folder, name) for name in ("config.json", "generation_config.json", "tqr.json")
    )
    roles = [produces]
    if tqr:
        roles = ["policy", "reward_model"] if tqr.get("ptq") else ["reward_model"]
    return {
        "reader": READER,
        "title": title,
        "produces": produces,
        "roles": roles,
        "stage": stage,
        "key": key,
        "digest": digest,
        "home": str(home.root),
        "folder": str(folder),
        "remote": remote.url if remote else "",
        "model_type": str(config.get("model_type", "")),
        "max_new_tokens": int(generation.get("max_new_tokens") or 0),
    }


def _read(folder: Any, name: str) -> dict[str, Any]:
    """Return what a config holds; nothing where it is not, or not readable."""
    with suppress(OSError, CorruptError):
        return dict(read_json(folder / name))
    return {}
