"""Where a data set is and how to read it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from tasks.data.sources.forms.registry import require_format
from tasks.data.sources.script_sets import why_script
from tasks.settings.base import FrozenConfig, Seed


class SourceConfig(FrozenConfig):
    """Where a data set is and how to read it."""

    path: str | None = None
    """A file (JSON, CSV, TSV, parquet, Arrow; gzip too), a folder with `SUBSET/SPLIT….jsonl` in it,
    or what `save_to_disk` of `datasets` wrote."""
    # In the key, unlike other paths: it says which file plays which part, and bad records name it.
    hub: str | None = None
    """A data set's name on the Hugging Face hub, instead of `path`; read with `datasets`."""
    subsets: tuple[str, ...] = ()
    """Folders of the data set to read, such as helpful-base and harmless-base of HH-RLHF."""
    split: str = "train"
    """Which split of a folder or hub set."""
    revision: str | None = None
    """Branch, tag or commit of the hub set; None is its main branch. Every run takes it at the
    commit where it is when the run begins, so that a set that moved is read anew."""
    format: str = "auto"
    """One of the known formats; `auto` tells it from each record's columns."""
    fields: dict[str, str] = Field(default_factory=dict)
    """Column to read instead of a format's own, such as `golden: golden_gpt4`; `system`, `history`
    and `input` are put around the prompt in every format."""
    where: dict[str, str | bool | int | float | None] = Field(default_factory=dict)
    """Only rows whose columns have these values and types, such as `split: train` or `label: true`;
    null is an absent value too."""
    chat_markup: Literal["refuse", "unwrap", "keep"] = "refuse"
    """Texts that already hold a chat template, such as `<|im_start|>user` or `[INST]`: refuse them
    as unreadable, unwrap them into messages, or keep them as text."""
    cue: str = ""
    """What the set writes between prompt and response although the chat template does so too, such
    as `TL;DR:`; it is cut off the ends of prompts and the beginnings of responses, so that a prompt
    is the same text in every set. Default: nothing is cut."""
    limit: int | None = Field(default=None, ge=1)
    """Keep only so many groups, a sample drawn over the whole source by a hash of their content,
    in the source's order; they are held in memory until it has been read. None keeps all."""
    seed: Seed = 0
    """Another seed is another sample of `limit` groups."""
    rows: int | None = Field(default=None, ge=1)
    """Read only the first so many rows of each file or subset, as they come: what `sparring
    rehearse` looks at. A beginning is no sample: for a part of the data use `limit`."""
    max_record_mb: int = Field(default=64, ge=1)
    """Longest record in MB; a longer one is skipped and counted as unreadable."""

    @field_validator("format")
    @classmethod
    def _known_format(cls, value: str) -> str:
        if value != "auto":
            require_format(value)
        return value

    @model_validator(mode="after")
    def _one_place(self) -> SourceConfig:
        if (self.path is None) == (self.hub is None):
            raise ValueError("a source needs either `path` or `hub`")
        if self.hub and self.hub.lower().endswith("/hh-rlhf") and not self.subsets:
            raise ValueError(
                "the default set of HH-RLHF mixes all of its parts (160,800 rows); choose "
                "`subsets: [helpful-base, harmless-base]`"
            )
        if self.hub and (reason := why_script(self.hub, self.revision)):
            raise ValueError(reason)
        return self

    @property
    def label(self) -> str:
        """What to call the source in messages and tables."""
        name = self.path or f"hub:{self.hub}"
        return f"{name}[{'+'.join(self.subsets)}]" if self.subsets else name
