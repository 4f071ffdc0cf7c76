"""Rewards of tokens as colours under the text: a page of its own, or a part of a report.

Texts come from models and data files: everything is escaped, and nothing is loaded or run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tasks.evaluation.report.pages import page_template

_PAGE = Path(__file__).with_name("heat_map.html.j2")
_LOW, _HIGH = (224, 123, 57), (86, 160, 211)  # orange and blue: apart for colour-blind readers
_WHITE = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class ShownToken:
    """One token of a response, as the page shows it."""

    text: str
    """Its text; empty where it is a part of a character."""
    reward: float
    """Mean reward at the position that has seen it last, reward units."""
    penalty: float = 0.0
    """Points that it costs by the oracle; 0 where there is none."""


@dataclass(frozen=True, slots=True)
class ShownResponse:
    """One response with its tokens."""

    title: str
    """Which of the pair's it is."""
    score: float
    """The score of the whole, reward units."""
    start: float
    """Mean reward at the prompt's last token, before anything of the response is seen."""
    tokens: Sequence[ShownToken]


@dataclass(frozen=True, slots=True)
class ShownPair:
    """A prompt and its responses."""

    prompt: str
    responses: Sequence[ShownResponse]


@dataclass(frozen=True)
class HeatMap:
    """Pairs of one reward model, on one scale of colours."""

    title: str
    """Whose rewards they are."""
    pairs: Sequence[ShownPair]
    """The examples, whose rewards make the scale."""
    page: str = ""
    """The file beside the report that shows more of them; empty where there is none."""
    most: int | None = None
    """How many of them are shown, the first ones; None: all."""

    @property
    def shown(self) -> Sequence[ShownPair]:
        """The pairs that are shown."""
        return self.pairs[: self.most]

    @cached_property
    def limit(self) -> float:
        """The reward at which a colour is full."""
        responses = [response for pair in self.pairs for response in pair.responses]
        return limit_of(
            reward
            for response in responses
            for reward in (response.start, *(token.reward for token in response.tokens))
        )

    @property
    def penalised(self) -> bool:
        """Whether the oracle takes points for any token."""
        return any(
            token.penalty
            for pair in self.shown
            for response in pair.responses
            for token in response.tokens
        )

    @property
    def colour(self) -> Callable[[float], str]:
        """What gives a reward its colour."""
        return lambda reward: colour(reward, self.limit)


def shown_pairs(plain: Iterable[Mapping[str, Any]]) -> list[ShownPair]:
    """Return the pairs that `dataclasses.asdict` made plain values of."""
    return [
        ShownPair(
            pair["prompt"],
            [
                ShownResponse(**{**one, "tokens": [ShownToken(**token) for token in one["tokens"]]})
                for one in pair["responses"]
            ],
        )
        for pair in plain
    ]


def render_heat_map(title: str, pairs: Sequence[ShownPair], notes: Sequence[str] = ()) -> str:
    """Return the page.

    Args:
        title: What is shown.
        pairs: The examples; the colours' scale is common to all.
        notes: Sentences under the title.
    """
    page = page_template(_PAGE, lstrip_blocks=True, keep_trailing_newline=True)
    return page.render(map=HeatMap(title, pairs), notes=notes)


def limit_of(rewards: Iterable[float]) -> float:
    """Return the reward at which a colour is full: few lie beyond, so that one does not pale all.

    Example:
        >>> limit_of([0.5, -2.0, 1.0])
        2.0
    """
    sizes = sorted(abs(reward) for reward in rewards)
    return sizes[int(0.98 * (len(sizes) - 1) + 0.999)] if sizes and sizes[-1] > 0 else 1.0


def colour(reward: float, limit: float) -> str:
    """Return the colour of a reward: white at 0, blue above it, orange below.

    Example:
        >>> colour(0.0, 2.0), colour(5.0, 2.0), colour(-1.0, 2.0)
        ('#ffffff', '#56a0d3', '#f0bd9c')
    """
    share = min(1.0, abs(reward) / limit)
    end = _HIGH if reward > 0 else _LOW
    mixed = (round(w + share * (e - w)) for w, e in zip(_WHITE, end, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)
