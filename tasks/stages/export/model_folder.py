"""A model leaves as the folder that plain transformers loads, with a card for the hub."""

from __future__ import annotations

import json
from dataclasses import dataclass
from string import Template
from typing import Any

from tasks.settings.errors import StageError
from tasks.stages.export.card import (
    CARD,
    Delivery,
    card_text,
    code_block,
    licence_text,
    made_how,
    made_of,
    numbers_of,
    title_of,
)
from tasks.storage.files import read_json, write_atomic
from tasks.tracking.remote.folder import FolderRemote

_OURS = {"metrics.json", "snapshot.json"}
"""Files of a model's folder that only Sparring reads."""


@dataclass(frozen=True, slots=True)
class ModelKind:
    """What is to be said of all models of a kind."""

    title: str
    """What people call it, with its article: `a policy`."""
    task: str
    """The hub's name of what it does, its `pipeline_tag`."""
    loader: str
    """Transformers' class that loads it."""
    usage: str
    """Python that uses it; `$name`, `$loader` and `$tokens` are filled in."""
    encoder_loader: str = ""
    """Class that loads one with an encoder, where that is another one."""
    tags: tuple[str, ...] = ()
    """Tags for the hub beside `sparring` and the method's name."""


def write_model(kind: ModelKind, out: Delivery) -> dict[str, Any]:
    """Copy a model and write its card.

    Returns:
        `files` and `bytes`, how many.

    Raises:
        StageError: The output holds no weights in safetensors.
    """
    wanted = [
        file
        for file in out.origins.manifest.files
        # Snapshots and adapters lie in folders of their own.
        if "/" not in file.path and file.path not in _OURS
    ]
    if not any(file.path.endswith(".safetensors") for file in wanted):
        raise StageError(f"{title_of(out.origins)} holds no weights in safetensors: make it again")
    target = FolderRemote(out.folder)
    for file in wanted:
        target.upload(file.path, out.source / file.path, md5=file.md5)
    write_atomic(out.folder / CARD, model_card(kind, out))
    return {"files": len(wanted) + 1, "bytes": sum(file.size for file in wanted)}


def model_card(kind: ModelKind, out: Delivery) -> str:
    """Return the card of a model."""
    from huggingface_hub import ModelCardData

    origins, settings = out.origins, out.origins.manifest.config
    config = settings if isinstance(settings, dict) else {}
    method = str(config.get("method") or config.get("objective") or "")
    front = ModelCardData(
        license=out.licence,
        library_name="transformers",
        pipeline_tag=kind.task,
        tags=[tag for tag in ("sparring", *kind.tags, method) if tag],
        base_model=[name.partition("@")[0] for name in origins.hub_models] or None,
        datasets=[name.partition("@")[0] for name in origins.hub_data] or None,
    )
    return card_text(
        front,
        f"{title_of(origins)}: {kind.title}",
        [
            ("", _summary(kind, method)),
            ("Use", code_block("python", _usage(kind, out, config))),
            ("Licence", licence_text(out.licence)),
            ("Measured", numbers_of(origins)),
            ("Made of", made_of(origins)),
            ("Made how", made_how(origins)),
        ],
    )


def _summary(kind: ModelKind, method: str) -> str:
    trained = f" trained by `{method}`" if method else ""
    return (
        f"This is {kind.title}{trained}, made with Sparring, a workflow of preference alignment. "
        "The chat template in this folder is the one that it was trained with."
    )


def _usage(kind: ModelKind, out: Delivery, config: dict[str, Any]) -> str:
    has_encoder = bool(read_json(out.source / "config.json").get("is_encoder_decoder"))
    loader = kind.encoder_loader if has_encoder and kind.encoder_loader else kind.loader
    tokens = config.get("limits", {}).get("max_response_tokens", 64)
    name = json.dumps(out.name, ensure_ascii=False)
    return Template(kind.usage).substitute(name=name, loader=loader, tokens=tokens)
