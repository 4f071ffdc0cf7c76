"""A TQR as a scorer: rewards of tokens as one number per response, in both readings at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor

from tasks.data.groups import Group, finished
from tasks.models.precision import keep_as_computed
from tasks.models.prompt_sharing_check import ordinary_tokens
from tasks.models.scoring.config import ScoringConfig
from tasks.models.scoring.group_scores import each_as_alone, map_groups, note_what_was_cut
from tasks.models.tokens.encoding import EncodedGroup, encode_group
from tasks.models.tokens.tokenizer import load_tokenizer
from tasks.models.tqr.endings import closed
from tasks.models.tqr.group_tqr import GroupTqr, TqrOutput
from tasks.models.tqr.model_files import load_tqr
from tasks.models.tqr.response_rewards import mean_log_likelihood, response_rewards
from tasks.settings.log import Log, NullLog

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class BothScores(NamedTuple):
    """One response's score in both readings, reward units."""

    last: float
    """The reward where the response's end is chosen."""
    whole: float
    """The return, in the scale that the configuration says."""


class TqrScorer:
    """A TQR, in the memory of the device where it scores; EOS ends every text that it reads."""

    def __init__(
        self,
        tqr: GroupTqr,
        tokenizer: PreTrainedTokenizerBase,
        config: ScoringConfig,
        log: Log | None = None,
    ) -> None:
        """Wrap a loaded TQR; the log is told once where prompts cannot be shared."""
        self.tqr, self.tokenizer = tqr, tokenizer
        self._config, self._log = config, log
        self._cut: Counter[str] = Counter()

    @classmethod
    def load(cls, path: Path, config: ScoringConfig, log: Log | None = None) -> TqrScorer:
        """Load TQR and tokenizer onto the device that there is, kept as it computes.

        Raises:
            ConfigError: The folder holds no TQR.
        """
        tqr = load_tqr(path, dtype="float32").requires_grad_(False)
        keep_as_computed(tqr.model, config.precision)
        return cls(tqr, load_tokenizer(path), config, log)

    def score(self, groups: Sequence[Group]) -> list[list[float]]:
        """Return the score of every response in the configured or own reading; see `Scorer`."""
        place = ("last", "return").index(self.own)
        return [[score[place] for score in row] for row in self.both(groups)]

    @property
    def own(self) -> str:
        """The reading that is its score: `last` or `return`."""
        return self._config.score or self.tqr.heads.config.score

    @property
    def return_scale(self) -> Literal["mean", "sum"]:
        """Whether its returns are means of the rewards or sums."""
        return self._config.return_scale

    def both(self, groups: Sequence[Group]) -> list[list[BothScores]]:
        """Return both readings of every response's score, from one pass; see `Scorer`."""

        def scores(output: TqrOutput) -> Tensor:
            return torch.stack(response_rewards(output, return_scale=self.return_scale), dim=-1)

        rows = self.read(groups, scores, reads_q=False)
        return [[BothScores(*found) for found in row] for row in rows]

    def every_reading(self, groups: Sequence[Group]) -> dict[str, list[list[float]]]:
        """Return all that can rank responses, by name and from one pass, like `Scorer.score`.

        They are `last`, `return` and, where the TQR is a policy, `logp`: the mean log-likelihood of
        a token, which knows no reward.
        """
        names = ("last", "return", *(["logp"] if self.tqr.heads.config.ptq else []))

        def scores(output: TqrOutput) -> Tensor:
            found = (
                *response_rewards(output, return_scale=self.return_scale),
                mean_log_likelihood(output),
            )
            return torch.stack(found[: len(names)], dim=-1)

        rows = self.read(groups, scores, reads_q="logp" in names)
        return {
            name: [[found[place] for found in row] for row in rows]
            for place, name in enumerate(names)
        }

    def read(
        self,
        groups: Sequence[Group],
        reading: Callable[[TqrOutput], Tensor],
        *,
        reads_q: bool = True,
    ) -> list[list[list[float]]]:
        """Return what is read of each response, from one pass.

        Args:
            groups: Every response gets an end; see `closed`.
            reading: Makes (B, K, C) of what the TQR says of B groups with K responses.
            reads_q: Whether it reads Q values or likelihoods, which cost a pass over the
                vocabulary.

        Returns:
            For each group in order, C numbers per response.

        Raises:
            StageError: A number is not finite; names the group.
        """
        config, log = self._config, self._log or NullLog()
        # Said once, however often it is asked.
        self._log = None
        return map_groups(
            self.tqr,
            each_as_alone(self.encode, config.limits, self._cut),
            groups,
            # It reads as a policy does, which may have no pad: any id serves, the masks decide.
            self.tokenizer.pad_token_id or 0,
            ordinary_tokens(self.tokenizer),
            config.batch_tokens,
            config.precision,
            log,
            lambda batch: reading(self.tqr(batch, reads_q=reads_q)),
        )

    def showing(self, tokens: int) -> TqrScorer:
        """Return this TQR as one that sees so many tokens of a response, and then its end.

        What it scores is a text of its own: nothing of it knows how the response went on.
        """
        limits = self._config.limits.model_copy(
            update={"max_response_tokens": tokens + 1, "on_long_response": "truncate_without_eos"}
        )
        config = self._config.model_copy(update={"limits": limits})
        return TqrScorer(self.tqr, self.tokenizer, config, self._log)

    def note_cut(self, log: Log) -> None:
        """Say how many responses and prompts were not read whole; see `Scorer`."""
        note_what_was_cut(self._cut, self._config.limits, log)

    def encode(self, group: Group) -> EncodedGroup:
        """Return a group's token ids as the TQR reads them: every response with an end."""
        config, limits = self._config, self._config.limits
        if limits.max_tokens and not all(finished(group)):
            # Room for the end that is appended.
            limits = limits.model_copy(update={"max_tokens": limits.max_tokens - 1})
        encoded = encode_group(self.tokenizer, config.template, group, limits)
        return closed(encoded, self.tokenizer.eos_token_id, config.limits.longest_response)
