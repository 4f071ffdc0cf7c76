"""The configuration of plain texts: which files play which part, and how long a piece is."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from tasks.data.sources.config import SourceConfig
from tasks.data.sources.places import local_files
from tasks.settings.base import FrozenConfig


class TextsConfig(FrozenConfig):
    """Plain texts, such as film reviews, and what each source of them is for.

    Texts that measure – `held_out`, `test_prompts` – leave the parts that are trained on, and those
    of `prompts` leave the corpus, so that a language model never saw what it is asked to continue.
    """

    corpus: list[SourceConfig] = Field(default_factory=list)
    """Texts that a language model is trained on, cut into pieces. Default: none, and supervised
    fine-tuning learns to continue the training prompts as their writers did."""
    prompts: list[SourceConfig] = Field(min_length=1)
    """Texts whose beginnings become prompts."""
    test_prompts: list[SourceConfig] = Field(default_factory=list)
    """Texts whose beginnings become the test prompts. Default: some of `prompts`, which are then
    neither trained on nor chosen by."""
    labelled: list[SourceConfig] = Field(default_factory=list)
    """Texts with a label, 1 or 0, that a classifier is trained on; empty: there is no classifier.
    They may be those of `prompts`."""
    held_out: list[SourceConfig] = Field(default_factory=list)
    """Labelled texts that measure the classifier."""
    piece_words: int = Field(default=120, ge=1)
    """Longest piece of the corpus in words; only a text's last piece ends with EOS."""
    max_bad_share: float = Field(default=0.01, ge=0, le=1)
    """Largest share of unreadable records per source; one alone is let pass, unless this is 0."""
    shard_size: int = Field(default=10_000, ge=1)
    """Groups per shard file."""

    @field_validator("corpus", "prompts", "test_prompts", "labelled", "held_out")
    @classmethod
    def _are_texts(cls, sources: list[SourceConfig]) -> list[SourceConfig]:
        for source in sources:
            if source.format not in ("auto", "texts"):
                raise ValueError(
                    f"{source.label} is read as {source.format!r}, plain texts as 'texts': leave "
                    "`format` out, and name the column with `fields: {text: …}` if need be"
                )
        return [source.model_copy(update={"format": "texts"}) for source in sources]

    def local_files(self) -> list[Path]:
        """Return every local file that will be read, each once, for the key of the stage.

        Raises:
            ConfigError: One does not exist.
        """
        measuring = [*self.held_out, *self.test_prompts]
        sources = [*measuring, *self.prompts, *self.labelled, *self.corpus]
        return list(dict.fromkeys(file for source in sources for file in local_files(source)))
