"""Rewards by a classifier that is a transformer: the log-odds of its good label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.data.groups import Group
from tasks.data.selection import keep_responses
from tasks.models.memory import kept_memory
from tasks.models.policy import frozen
from tasks.models.precision import arithmetic_of, keep_as_computed
from tasks.models.scoring.group_scores import refuse_broken, response_values
from tasks.models.scoring.text_classifier import (
    GroupClassifier,
    Reading,
    load_text_classifier,
    read_reading,
)
from tasks.models.tokens.encoding import EncodedGroup, Limits, encode_group
from tasks.models.tokens.tokenizer import load_tokenizer
from tasks.settings.log import Log

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class TextClassifierScorer:
    """A transformer that classifies texts; the reward is the log-odds of its good label, nats."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        reading: Reading,
        *,
        batch_tokens: int = 8192,
        precision: str = "fp32",
    ) -> None:
        """Wrap a loaded classifier, which computes where it lies."""
        self.model, self.tokenizer, self.reading = model, tokenizer, reading
        self._batch_tokens, self._precision = batch_tokens, precision
        self._cut: Counter[str] = Counter()

    @classmethod
    def load(cls, folder: Path, *, batch_tokens: int, precision: str) -> TextClassifierScorer:
        """Load what `save_text_classifier` wrote, onto the device there is, kept as it computes.

        Raises:
            ConfigError: The folder is damaged, or another version wrote it.
        """
        reading, tokenizer = read_reading(folder), load_tokenizer(folder)
        model = load_text_classifier(folder).requires_grad_(False)
        keep_as_computed(model, precision)
        return cls(model, tokenizer, reading, batch_tokens=batch_tokens, precision=precision)

    def score(self, groups: Sequence[Group]) -> list[list[float]]:
        """Return the log-odds of every response with its prompt, nats.

        Raises:
            StageError: One is not a finite number; names the group.
        """
        rows = [
            [self._encoded(keep_responses(group, [place])) for place in range(len(group.responses))]
            for group in groups
        ]
        pad, device = self.model.config.pad_token_id or 0, self.model.device.type
        with frozen(self.model), kept_memory(), arithmetic_of(self._precision, device):
            values = iter(
                response_values(
                    GroupClassifier(self.model, self.reading.label),
                    [one for row in rows for one in row],
                    pad,
                    self._batch_tokens,
                )
            )
        found = [[next(values)[0] for _ in row] for row in rows]
        refuse_broken(self.model, list(groups), found)
        return found

    def log_odds(self, texts: Sequence[str]) -> list[float]:
        """Return the log-odds of whole texts, nats."""
        return [row[0] for row in self.score([Group((), (text,)) for text in texts])]

    def note_cut(self, log: Log) -> None:
        """Say how many texts were longer than it reads."""
        if self._cut["long"]:
            log.note(
                f"{self._cut['long']} of {self._cut['texts']} texts are longer than the "
                f"{self.reading.max_tokens} tokens that the classifier reads, and lost their end"
            )

    def _encoded(self, alone: Group) -> EncodedGroup:
        most = self.reading.max_tokens
        if self.reading.reads == "chat":
            limits = Limits(
                max_prompt_tokens=most,
                max_response_tokens=most,
                max_tokens=most,
                on_long_response="truncate_without_eos",
            )
            found = encode_group(self.tokenizer, None, alone, limits)
        else:
            lines = "\n".join(turn.content for turn in alone.prompt)
            ids, long = text_ids(self.tokenizer, lines + alone.responses[0], most)
            found = EncodedGroup([], [ids], False, [long])
        self._cut["texts"] += 1
        self._cut["long"] += found.truncated_prompt or found.truncated_responses[0]
        return found


def text_ids(
    tokenizer: PreTrainedTokenizerBase, text: str, max_tokens: int
) -> tuple[list[int], bool]:
    """Return the token ids of a text, and whether it lost its end.

    They have the marks that the tokenizer puts around a text; nothing in it is a special token.
    """
    # Transformers warns of every text that is longer than the model's context.
    whole = tokenizer(text, split_special_tokens=True, verbose=False)["input_ids"]
    if len(whole) <= max_tokens:
        return whole, False
    cut = tokenizer(text, split_special_tokens=True, truncation=True, max_length=max_tokens)
    return cut["input_ids"], True
