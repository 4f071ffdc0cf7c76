"""What a tokenizer does to groups: lengths, truncation, boundary merges, whether EOS is learnt."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from tasks.data.groups import Group, Prompt
from tasks.data.inspection.spread import Spread, lengths_cell, share_cell


class HasLimits(Protocol):
    """The two limits of a run, in tokens."""

    @property
    def max_prompt_tokens(self) -> int:
        """Longest prompt."""

    @property
    def max_response_tokens(self) -> int:
        """Longest response, its EOS included."""


@dataclass(frozen=True)
class TokenStatistics:
    """Token counts of a file, over all its prompts and responses; shares are between 0 and 1."""

    prompt: Spread
    """Tokens per rendered prompt."""
    response: Spread
    """Tokens per response, its EOS included where the tokenizer has one."""
    truncated_prompts: float | None
    """Share of prompts over their limit (cut from the left); None without limits."""
    truncated_responses: float | None
    """Share of responses over their limit; None without limits."""
    boundary_merges: float
    """Share of (prompt, response) whose joint text has other tokens than the two apart."""
    eos_in_loss: float | None
    """Share of responses whose EOS stays inside the limit and is learnt; None: EOS unknown."""
    eos_inside: float | None
    """Share of responses whose own text contains the EOS token and would end there."""
    pad_is_eos: bool | None
    """Whether padding has the id of EOS: harmless here, as masks come from lengths."""

    def cells(self) -> dict[str, str]:
        """Return the statistics as table cells, by row name."""
        return {
            "prompt tokens": lengths_cell(self.prompt),
            "response tokens": lengths_cell(self.response),
            "prompts over the limit": share_cell(self.truncated_prompts),
            "responses over the limit": share_cell(self.truncated_responses),
            "merges at the boundary": share_cell(self.boundary_merges),
            "EOS in the loss": share_cell(self.eos_in_loss),
            "EOS inside a response": share_cell(self.eos_inside),
            "pad is EOS": "–" if self.pad_is_eos is None else str(self.pad_is_eos).lower(),
        }


class TokenCheck:
    """Tokenises group after group, prompt and response apart, and counts."""

    def __init__(
        self,
        tokenizer: Any,
        render: Callable[[Prompt], str] | None = None,
    ) -> None:
        """Fix the tokenizer and the template.

        Args:
            tokenizer: Something with `encode(text)` (transformers, tokenizers), or a function from
                text to token ids.
            render: Puts a prompt into its template; None writes "role: content" and blank lines.
        """
        self._encode = _encoder(tokenizer)
        self._render = render or _plain
        self._eos = getattr(tokenizer, "eos_token_id", None)
        self._pad = getattr(tokenizer, "pad_token_id", None)
        self._prompt_tokens, self._response_tokens = array("q"), array("q")
        self._counts: Counter[str] = Counter()

    def add(self, group: Group) -> None:
        """Count one group."""
        text = self._render(group.prompt)
        ids = self._encode(text)
        self._prompt_tokens.append(len(ids))
        for response in group.responses:
            answer = self._encode(response)
            self._response_tokens.append(len(answer) + (self._eos is not None))
            self._counts["merged"] += self._encode(text + response) != ids + answer
            self._counts["eos_inside"] += self._eos is not None and self._eos in answer

    def statistics(self, limits: HasLimits | None = None) -> TokenStatistics:
        """Return what was counted so far.

        Args:
            limits: In tokens, for the shares that are over them; a response's includes its EOS.
        """
        prompt_limit = limits.max_prompt_tokens if limits else None
        response_limit = limits.max_response_tokens if limits else None
        responses = len(self._response_tokens)
        cut = _share_over(self._response_tokens, response_limit)
        known = self._eos is not None
        return TokenStatistics(
            prompt=Spread.of(self._prompt_tokens),
            response=Spread.of(self._response_tokens),
            truncated_prompts=_share_over(self._prompt_tokens, prompt_limit),
            truncated_responses=cut,
            boundary_merges=_ratio(self._counts["merged"], responses),
            eos_in_loss=1 - (cut or 0.0) if known else None,
            eos_inside=_ratio(self._counts["eos_inside"], responses) if known else None,
            pad_is_eos=self._pad == self._eos if known and self._pad is not None else None,
        )


def _ratio(count: int, total: int) -> float:
    return round(count / total, 4) if total else 0.0


def _share_over(lengths: array[int], limit: int | None) -> float | None:
    if limit is None:
        return None
    return _ratio(sum(length > limit for length in lengths), len(lengths))


def _plain(prompt: Prompt) -> str:
    turns = (f"{message.role}: {message.content}\n\n" for message in prompt)
    return "".join(turns) + "assistant:"


def _encoder(tokenizer: Any) -> Callable[[str], list[int]]:
    encode = getattr(tokenizer, "encode", tokenizer)
    options = {} if encode is tokenizer else {"add_special_tokens": False}

    def ids(text: str) -> list[int]:
        encoded = encode(text, **options)
        return list(getattr(encoded, "ids", encoded))

    return ids
