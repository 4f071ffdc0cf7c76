"""The best setting of a peer: nobody should have to believe a ratio against a badly tuned one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

Choice = dict[str, Any]


class SideError(RuntimeError):
    """A side ended early, or the two did not do the same work."""

    def __init__(self, message: str, short: str = "") -> None:
        """Keep the message, and a line that says the same in a table."""
        super().__init__(message)
        self.short = short or message.splitlines()[0]


@dataclass(frozen=True)
class Variants:
    """The values that a peer's options may take."""

    crossed: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """Tried in every combination, first."""
    alone: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """Held at their first value meanwhile, then changed one after the other."""

    def combinations(self) -> Iterator[Choice]:
        """Yield what is tried first."""
        held = {name: values[0] for name, values in self.alone.items()}
        for values in product(*self.crossed.values()):
            yield dict(zip(self.crossed, values, strict=True)) | held


@dataclass(frozen=True)
class Tried:
    """One setting, and what it gave."""

    choice: Choice
    """Value by option."""
    rate: float | None
    """Units per second; None where it failed."""
    reason: str = ""
    """Why it failed."""

    def __str__(self) -> str:
        """Say it in words."""
        result = f"{self.rate:.3g} a second" if self.rate is not None else f"failed: {self.reason}"
        return f"{described(self.choice)}: {result}"


def best_setting(
    variants: Variants, measure: Callable[[Choice], float]
) -> tuple[Choice, list[Tried]]:
    """Search a peer's settings: some in every combination, the others one change at a time.

    Args:
        variants: What may be chosen.
        measure: Gives the units per second of a setting, or raises `SideError`, as where memory
            runs out; such a setting is recorded with its reason.

    Returns:
        The fastest setting, and everything that was tried, in order. Nothing is measured where
        there is but one setting.

    Raises:
        SideError: No setting works; the message has the reason of each.

    Example:
        >>> rates = {(1, False): 2.0, (2, False): 3.0, (2, True): 1.0}
        >>> best_setting(
        ...     Variants({"micro_batch": (1, 2)}, {"checkpointing": (False, True)}),
        ...     lambda choice: rates[choice["micro_batch"], choice["checkpointing"]],
        ... )[0]
        {'micro_batch': 2, 'checkpointing': False}
    """
    first = list(variants.combinations())
    if len(first) == 1 and all(len(values) == 1 for values in variants.alone.values()):
        return first[0], []
    tried = [_tried(choice, measure) for choice in first]
    for name, values in variants.alone.items():
        best = _best(tried)
        tried += [_tried(best | {name: v}, measure) for v in values if v != best[name]]
    if all(one.rate is None for one in tried):
        raise SideError("no setting of the peer works: " + "; ".join(map(str, tried)))
    return _best(tried), tried


def described(choice: Choice) -> str:
    """Return a setting in words.

    Example:
        >>> described({"micro_batch": 2, "by_length": True})
        'micro batch 2, by length on'
    """
    shown = {True: "on", False: "off", "": "nothing"}
    return ", ".join(
        f"{name.replace('_', ' ')} {value if type(value) is int else shown.get(value, value)}"
        for name, value in choice.items()
    )


def _tried(choice: Choice, measure: Callable[[Choice], float]) -> Tried:
    try:
        return Tried(choice, measure(choice))
    except SideError as error:
        return Tried(choice, None, error.short)


def _best(tried: list[Tried]) -> Choice:
    """Return the fastest; where nothing works yet, the first, which asks for the least memory."""
    return max(tried, key=lambda one: -1.0 if one.rate is None else one.rate).choice
