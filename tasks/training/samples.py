"""The groups a training learns from: chosen, checked and kept before anything expensive."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoConfig, PreTrainedTokenizerBase

from tasks.data.files import GroupFolder, write_groups
from tasks.data.groups import Group
from tasks.models.batching import GroupBatch, collate
from tasks.models.checks import check_model_source, load_errors
from tasks.models.encoding import EncodedGroup, Limits, encode_group
from tasks.models.policy import check_context
from tasks.models.templates import resolve_template
from tasks.models.tokenizer import load_tokenizer
from tasks.settings.errors import StageError
from tasks.storage.files import read_json, write_json
from tasks.storage.workspace import Workspace

_COUNTS = "counts.json"


@dataclass(frozen=True)
class Encoder:
    """How a model reads groups."""

    tokenizer: PreTrainedTokenizerBase
    """The model's own."""
    template: str | None
    """Name of its chat template; None: a foreign one that the tokenizer carries."""
    limits: Limits
    """Longest prompt and response, tokens."""

    @classmethod
    def of(cls, model: Path, template: str | None, limits: Limits) -> Encoder:
        """Return the encoder of a model folder.

        Args:
            model: the folder.
            template: the name of a chat template; None: the one the folder was saved with.
            limits: longest prompt and response.

        Raises:
            ConfigError: the folder cannot be loaded, has no template, or its context is shorter
                than the limits.
        """
        check_model_source(model)
        with load_errors("model", model):
            config = AutoConfig.from_pretrained(str(model), trust_remote_code=False)
        check_context(config, limits, str(model))
        tokenizer = load_tokenizer(model)
        return cls(tokenizer, resolve_template(tokenizer, template), limits)

    def encode(self, group: Group) -> EncodedGroup:
        """Return the token ids of a group; raises as ``encode_group``."""
        return encode_group(self.tokenizer, self.template, group, self.limits)

    def batch(self, groups: list[Group]) -> GroupBatch:
        """Return groups as tensors, on the CPU."""
        pad = self.tokenizer.pad_token_id
        # The pad id decides nothing; a tokenizer without one still has an end.
        pad = self.tokenizer.eos_token_id if pad is None else pad
        return collate([self.encode(group) for group in groups], pad)


def keep_groups(
    workspace: Workspace, name: str, groups: Iterable[Group], encoder: Encoder
) -> tuple[GroupFolder, dict[str, float]]:
    """Write the groups of a training into a part, encoding each once to find what does not fit.

    A part that is there already is used as it is, so a resumed training sees the same rows.

    Args:
        workspace: of the stage's attempt.
        name: of the part, and of the data set in the plan.
        groups: what to train on, consumed once.
        encoder: of the model that will be trained.

    Returns:
        The groups by row, and how many there are and were truncated.

    Raises:
        RecordError: a response is longer than the limits allow.
        StageError: there are no groups.
    """
    folder = workspace.part(name) or workspace.save_part(
        name, lambda folder: _write(folder, groups, encoder)
    )
    kept, counts = GroupFolder(folder), read_json(folder / _COUNTS)
    if not len(kept):
        raise StageError(
            f"there is nothing to train on: no group qualifies as {name} (are all scores tied, "
            "or all samples equal to gold?)"
        )
    return kept, {f"data/{name}/{key}": float(count) for key, count in counts.items()}


def scores_tensor(groups: list[Group]) -> Tensor:
    """Return scores side by side, 0 in empty slots and where nobody scored. Shape (B, K)."""
    width = max(len(group.responses) for group in groups)
    scores = torch.zeros(len(groups), width)
    for row, group in enumerate(groups):
        if group.scores is not None:
            scores[row, : len(group.scores)] = torch.tensor(group.scores)
    return scores


def _write(folder: Path, groups: Iterable[Group], encoder: Encoder) -> None:
    counts = {"groups": 0, "responses": 0, "truncated_prompts": 0, "truncated_responses": 0}

    def checked() -> Iterable[Group]:
        for group in groups:
            encoded = encoder.encode(group)
            counts["groups"] += 1
            counts["responses"] += len(group.responses)
            counts["truncated_prompts"] += encoded.truncated_prompt
            counts["truncated_responses"] += sum(encoded.truncated_responses)
            yield group

    write_groups(folder, checked())
    write_json(folder / _COUNTS, counts)
