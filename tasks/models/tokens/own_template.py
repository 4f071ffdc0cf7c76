"""Chat templates of models from elsewhere, tried on every record before anything is trained.

Such a template is a program, and many refuse what others write: a system turn, two turns of one
side after another. Found while reading, it costs a record; found later, the run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from tasks.data.groups import Group
from tasks.settings.errors import RecordError
from tasks.settings.printable import excerpt

TEMPLATE_FILES = ("chat_template.jinja", "tokenizer_config.json", "chat_template.json")
"""The files of a model folder that say how it writes conversations, the strongest first."""


class OwnTemplate(NamedTuple):
    """What a model folder says of its chat template."""

    source: str
    """Jinja source."""
    special_tokens: dict[str, str]
    """Texts of special tokens by the names that a template uses, such as `bos_token`."""

    def require(self, group: Group) -> None:
        """Write a group's prompt, as sampling and training will.

        Raises:
            RecordError: The template refuses it.
        """
        from transformers.utils.chat_template_utils import render_jinja_template

        turns = [{"role": turn.role, "content": turn.content} for turn in group.prompt]
        try:
            render_jinja_template(
                [turns],
                chat_template=self.source,
                add_generation_prompt=True,
                **self.special_tokens,
            )
        except Exception as error:  # a template is a program: it may raise anything
            roles = ", ".join(turn.role for turn in group.prompt)
            raise RecordError(
                f"the model's chat template refuses the turns {roles} ({error}): "
                f"{excerpt(group.prompt[-1].content if group.prompt else '')}"
            ) from error


def read_template(files: Iterable[Path]) -> OwnTemplate | None:
    """Return the chat template of one model from those of `TEMPLATE_FILES` that it has, if any."""
    named = {file.name: file.read_text(encoding="utf-8") for file in files}
    settings = json.loads(named.get("tokenizer_config.json", "{}"))
    legacy = json.loads(named.get("chat_template.json", "{}"))
    source = named.get("chat_template.jinja") or _default(settings) or _default(legacy)
    tokens = {
        name: token if isinstance(token, str) else token.get("content", "")
        for name, token in settings.items()
        if name.endswith("_token") and isinstance(token, str | dict)
    }
    return OwnTemplate(source, tokens) if source else None


def template_check(files: Sequence[Path]) -> Callable[[Group], None]:
    """Return what raises RecordError for a group that one of several models' templates refuses.

    Args:
        files: Those of `TEMPLATE_FILES` of each model; what lies in one folder is one model's.
    """
    folders = groupby(sorted(files), key=lambda file: file.parent)
    found = [template for _, own in folders if (template := read_template(own))]

    def check(group: Group) -> None:
        for template in found:
            template.require(group)

    return check


def _default(tree: dict[str, Any]) -> str:
    """Return the chat template in a JSON file: a text, or the one named default of a list."""
    given = tree.get("chat_template") or ""
    if isinstance(given, str):
        return given
    named = given if isinstance(given, dict) else {one["name"]: one["template"] for one in given}
    return str(named.get("default", ""))
