"""A text classifier that is a transformer: any `AutoModelForSequenceClassification`.

Its folder is the model's with `classifier.json` in it, which says how texts are read and which
label is the good one.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from tasks.models.groups.group_model import Attention, Batch, GroupModel
from tasks.models.loading import load_weights, quiet_transformers
from tasks.models.padded_batches import GroupBatch, collate
from tasks.models.policy import per_slot
from tasks.models.scoring.config import CLASSIFIER_FILE
from tasks.models.tokens.encoding import EncodedGroup
from tasks.models.tokens.tokenizer import ensure_pad
from tasks.settings.errors import ConfigError
from tasks.storage.errors import StorageError
from tasks.storage.files import read_json, write_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

FORMAT = 1
"""Raised when the same settings begin to read texts otherwise."""
_HEADS = ("score", "classifier", "pre_classifier", "classification_head", "pooler", "bert.pooler")
_LABELS = {0: "negative", 1: "positive"}


@dataclass(frozen=True)
class Reading:
    """How a classifier reads, and what its numbers mean."""

    label: int
    """The label whose log-odds are the reward; with one label that is its logit."""
    max_tokens: int
    """A longer text loses its end."""
    reads: Literal["text", "chat"] = "text"
    """text: the prompt's turns as lines, and the response behind them; chat: the conversation in
    the chat template that its tokenizer has."""


class GroupClassifier(GroupModel):
    """A classifier whose number for a text is the log-odds of one label, nats."""

    def __init__(self, model: PreTrainedModel, label: int) -> None:
        """Wrap a classifier; it reads each text as a row of its own."""
        super().__init__(model)
        self.label = label

    def forward(self, batch: Batch) -> Tensor:
        """Return the log-odds of each text. Shape (B, K)."""
        assert isinstance(batch, GroupBatch), "it shares no prompts"
        mask = batch.attention_mask.long()
        logits = self.model(input_ids=batch.input_ids, attention_mask=mask).logits
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        others = [place for place in range(logits.shape[1]) if place != self.label]
        values = logits[:, self.label]
        if others:
            values = values - logits[:, others].logsumexp(dim=1)
        return per_slot(values, batch)

    def batch(self, groups: Sequence[EncodedGroup], pad_id: int) -> GroupBatch:
        """Return the texts as one rectangle, on the CPU."""
        batch = collate(groups, pad_id)
        self._check_ids(batch)
        return batch

    def check(self, tokens: Sequence[int]) -> None:
        """Do nothing: an encoder reads a text in both directions, so no part of it is shared."""

    def _ways(self) -> list[Attention]:
        return []


def start_text_classifier(
    source: str | Path,
    tokenizer: PreTrainedTokenizerBase,
    context: AbstractContextManager[Any] | None = None,
    *,
    revision: str | None = None,
) -> PreTrainedModel:
    """Put a fresh head for two labels on a language model or an encoder.

    Args:
        source: Folder or hub name.
        tokenizer: Its own, which gets a pad where it has none.
        context: Entered around the loading; None puts the model where models compute.
        revision: Of a hub model.

    Raises:
        ConfigError: It cannot be loaded or classified with.
    """
    from transformers import AutoModelForSequenceClassification

    model = load_weights(
        AutoModelForSequenceClassification,
        source,
        context=context,
        dtype="float32",
        revision=revision,
        may_lack=_HEADS,
        num_labels=len(_LABELS),
        id2label=_LABELS,
        label2id={name: place for place, name in _LABELS.items()},
    )
    # The last linear layer of whatever the head is starts at zero: training begins at even odds.
    heads = [part for name, part in model.named_children() if name in _HEADS]
    layers = [one for head in heads for one in head.modules() if isinstance(one, torch.nn.Linear)]
    torch.nn.init.zeros_(layers[-1].weight)
    ensure_pad(tokenizer)
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        with quiet_transformers():
            model.resize_token_embeddings(len(tokenizer))
    model.config.pad_token_id = tokenizer.pad_token_id
    return model


def load_text_classifier(
    source: str | Path,
    context: AbstractContextManager[Any] | None = None,
    *,
    revision: str | None = None,
) -> PreTrainedModel:
    """Load a finished classifier, in eval mode; arguments as of `start_text_classifier`.

    Raises:
        ConfigError: It cannot be loaded, or has no trained head.
    """
    from transformers import AutoModelForSequenceClassification

    return load_weights(
        AutoModelForSequenceClassification,
        source,
        context=context,
        dtype="float32",
        revision=revision,
    )


def reading_of(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    label: str | int | None,
    max_tokens: int,
    reads: Literal["text", "chat"] = "text",
) -> Reading:
    """Return how a finished classifier reads; its own context bounds `max_tokens`.

    Args:
        model: The classifier.
        tokenizer: Its own.
        label: Name or number of the good label; None for the only one, or the second of two.
        max_tokens: The longest text.
        reads: As `Reading.reads`.

    Raises:
        ConfigError: There is no such label, several could be meant, or it has no chat template.
    """
    names = {int(place): str(name) for place, name in model.config.id2label.items()}
    if label is None and len(names) <= len(_LABELS):
        place: int | None = len(names) - 1
    else:
        known = {str(key): number for number, name in names.items() for key in (number, name)}
        place = known.get(str(label))
    if place is None:
        raise ConfigError(
            f"oracle.label is {label!r}, and the classifier's labels are "
            f"{', '.join(f'{number} ({name})' for number, name in names.items())}: name one of them"
        )
    if reads == "chat" and not tokenizer.chat_template:
        raise ConfigError(
            "oracle.reads is 'chat', and the classifier's tokenizer has no chat template: let it "
            "read 'text', or give another classifier"
        )
    return Reading(place, min(max_tokens, tokenizer.model_max_length), reads)


def save_text_classifier(reading: Reading, folder: Path) -> None:
    """Write how a classifier reads beside its weights, which lie there already."""
    write_json(folder / CLASSIFIER_FILE, {"format": FORMAT, **asdict(reading)})


def read_reading(folder: Path) -> Reading:
    """Return how the classifier of a folder reads.

    Raises:
        ConfigError: It is damaged, or another version wrote it.
    """
    try:
        record = read_json(folder / CLASSIFIER_FILE)
        if record.pop("format") != FORMAT:
            raise ValueError(f"another version than {FORMAT} wrote it")
        return replace(Reading(0, 1), **record)
    except (OSError, StorageError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{folder} holds no classifier that can be used ({type(error).__name__}: {error}); "
            "train it anew"
        ) from error
