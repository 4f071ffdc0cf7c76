"""The number that an answer comes to, and whether it is the reference answer's: exact match.

Of mathematical problems it says who solved one, without any model that judges.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from tasks.data.files import read_groups
from tasks.data.groups import Group
from tasks.settings.errors import ConfigError
from tasks.settings.log import Log

_MARK = "####"
"""What GSM8K writes before the number that a solution comes to."""
_SIGN, _CURRENCY = "-−+", "$€£¥"
_NUMBER = re.compile(
    # A sign behind a number, a word or a bracket is an operation; behind a currency it is a sign.
    rf"(?P<sign>(?<![\w)\]%])[{_SIGN}])?(?:[{_CURRENCY}](?P<inner>[{_SIGN}])?)?"
    # Separators of thousands, or none: in `1,2,3` there are three numbers.
    r"(?P<digits>(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)"
)


def final_number(text: str) -> Decimal | None:
    """Return the number that a text comes to: the first behind its last `####`, else its last one.

    None where there is none. Separators of thousands, signs, decimals and signs of currencies are
    read; units and the end of the sentence are no part of it.

    Example:
        >>> final_number("They sold 3 of 4 for $1,200.50 in all.")
        Decimal('1200.50')
        >>> final_number("6 - 8 is below zero: #### -2 (by 2)")
        Decimal('-2')
    """
    _, mark, behind = text.rpartition(_MARK)
    found = [_decimal(match) for match in _NUMBER.finditer(behind if mark else text)]
    if not found:
        return None
    return found[0] if mark else found[-1]


class FinalNumberScorer:
    """Scores an answer 1 if it comes to the number of the reference answer to its prompt, else 0.

    The references are a folder of groups: the first response of each is right.
    """

    def __init__(self, references: Path) -> None:
        """Read the references.

        Raises:
            ConfigError: One of them has no number.
        """
        self._right = {group.id: _reference(group) for group in read_groups(references)}

    def score(self, groups: Sequence[Group]) -> list[list[float]]:
        """Return 1 or 0 for every response; see `Scorer`."""
        return [self._hits(group) for group in groups]

    def note_cut(self, log: Log) -> None:
        """Say nothing: it reads texts of any length."""

    def _hits(self, group: Group) -> list[float]:
        if group.id not in self._right:
            raise ConfigError(f"there is no reference answer to {group.title}")
        return [float(final_number(text) == self._right[group.id]) for text in group.responses]


def _decimal(match: re.Match[str]) -> Decimal:
    number = Decimal(match["digits"].replace(",", ""))
    minus = [sign for sign in (match["sign"], match["inner"]) if sign and sign != "+"]
    return -number if len(minus) % 2 else number


def _reference(group: Group) -> Decimal:
    found = final_number(group.responses[0]) if group.responses else None
    if found is None:
        raise ConfigError(
            f"the reference answer to {group.title} has no number: exact_match compares the "
            "numbers that answers come to, so leave it out, or the records without one"
        )
    return found
