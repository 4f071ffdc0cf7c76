"""The groups a training learns from: chosen, encoded and kept before anything expensive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import AutoConfig, PreTrainedTokenizerBase

from tasks.data.files import read_groups
from tasks.data.groups import Group
from tasks.models.policy import check_context
from tasks.models.source_checks import check_model_source, load_errors
from tasks.models.tokens.conversations import resolve_template
from tasks.models.tokens.encoding import EncodedGroup, Limits, encode_group
from tasks.models.tokens.tokenizer import load_tokenizer
from tasks.settings.errors import ConfigError, StageError
from tasks.settings.log import Log
from tasks.storage.workspace import Workspace
from tasks.training.data.encoded import EncodedFolder, EncodedWriter
from tasks.training.methods.method import GroupMethod
from tasks.training.methods.selection import first_responses


@dataclass(frozen=True)
class Encoder:
    """How a model reads groups."""

    tokenizer: PreTrainedTokenizerBase
    """The model's own."""
    template: str | None
    """Name of its chat template; None: a foreign one that the tokenizer carries."""
    limits: Limits
    """Longest prompt and response, tokens."""
    as_sampled: bool = False
    """Whether samples that this tokenizer's model drew keep the tokens they were drawn as."""

    @classmethod
    def of(
        cls, model: Path, template: str | None, limits: Limits, *, as_sampled: bool = False
    ) -> Encoder:
        """Return the encoder of a model folder; without a template, the one it was saved with.

        Reward models do not take samples as they were drawn: they would learn to tell them by their
        tokens.

        Raises:
            ConfigError: The folder cannot be loaded, has no template, its context is shorter
                than the limits, or its tokenizer has no end of text.
        """
        check_model_source(model)
        with load_errors("model", model):
            config = AutoConfig.from_pretrained(str(model), trust_remote_code=False)
        check_context(config, limits, str(model))
        tokenizer = load_tokenizer(model)
        return cls(tokenizer, resolve_template(tokenizer, template), limits, as_sampled)

    @property
    def pad_id(self) -> int:
        """The id that fills a rectangle; it decides nothing."""
        pad = self.tokenizer.pad_token_id
        # A tokenizer without a pad still has an end.
        return int(self.tokenizer.eos_token_id if pad is None else pad)

    def encode(self, group: Group) -> EncodedGroup:
        """Return the token ids of a group; raises as ``encode_group``."""
        return encode_group(
            self.tokenizer, self.template, group, self.limits, as_sampled=self.as_sampled
        )


class Selection:
    """What a policy method trains on, folder after folder, and how much it leaves out."""

    def __init__(
        self, folders: Sequence[Path], method: GroupMethod, responses: int | None = None
    ) -> None:
        """Say what to read, and how many responses of each group; nothing is read yet."""
        self._folders, self.method, self._responses = folders, method, responses
        self.left_out = 0
        """Groups read so far that teach the method nothing."""

    @property
    def counts(self) -> dict[str, int]:
        """How many groups were left out."""
        return {"left_out": self.left_out}

    def __iter__(self) -> Iterator[Group]:
        """Yield the groups to train on.

        Raises:
            ConfigError: The method lacks responses or scores.
            RecordError: A line is no group: a score that is not finite, for example.
        """
        self.left_out = 0
        for folder in self._folders:
            for group in read_groups(folder):
                chosen = self.method.select(first_responses(group, self._responses))
                self.left_out += not chosen
                yield from chosen


def keep_selection(
    workspace: Workspace, name: str, selection: Selection, encoder: Encoder, log: Log
) -> tuple[EncodedFolder, dict[str, float]]:
    """Write what a policy method trains on as `keep_groups` does, and say what it leaves out.

    Returns:
        As `keep_groups`; `data/NAME/left_out` is one of the counts.

    Raises:
        ConfigError: The method lacks responses or scores.
        RecordError, StageError: As `keep_groups`.
    """
    kept, counts = keep_groups(workspace, name, selection, encoder)
    left_out = kept.counts["left_out"]
    if left_out:
        log.note(
            f"{left_out} of {left_out + len(kept)} groups teach nothing to "
            f"{selection.method.name} and are left out: their scores do not differ"
        )
    return kept, counts


def keep_groups(
    workspace: Workspace, name: str, groups: Iterable[Group], encoder: Encoder
) -> tuple[EncodedFolder, dict[str, float]]:
    """Write the groups of a training into a part as token ids, each encoded this once.

    Where whoever yields them has `counts`, what was left out for example, these are kept as well.
    A part that is there already is used as it is, so a resumed training sees the same rows.

    Returns:
        The groups by row, and how many there are and were truncated.

    Raises:
        RecordError: A response is longer than the limits allow, or a group has none.
        StageError: There are no groups.
    """

    def write(folder: Path) -> None:
        with EncodedWriter(folder) as writer:
            for group in groups:
                writer.write(group, encoder.encode(group))
            writer.counts |= getattr(groups, "counts", {})

    kept = EncodedFolder(workspace.part(name) or workspace.save_part(name, write))
    if not len(kept):
        raise StageError(
            f"there is nothing to train on: no group qualifies as {name} (are all scores tied, "
            "or all samples equal to gold?)"
        )
    return kept, {f"data/{name}/{key}": float(count) for key, count in kept.counts.items()}


def refuse_large_groups(groups: EncodedFolder, budget: int) -> None:
    """Stop before a model is loaded if a group does not fit into one forward pass.

    Raises:
        ConfigError: Names the largest group, its tokens and the number to raise the key to.
    """
    name, tokens = groups.largest
    if tokens > budget:
        raise ConfigError(
            f"group {name} has {tokens} tokens, its prompt once and all its responses, and "
            f"training.micro_batch_tokens is {budget}: raise it to {tokens}, lower the limits, or "
            "train on fewer responses per prompt"
        )
