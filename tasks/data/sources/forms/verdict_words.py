"""The words that people use for the better and the worse of two answers, as names of columns."""

from __future__ import annotations

import re

_SIDES = {
    "chosen": "chosen|good|pos|positive|winner|winning|win|accepted|accept|preferred|better|best|"
    "y_?w|response_w|completion_w",
    "rejected": "rejected|reject|bad|neg|negative|loser|losing|lose|dispreferred|non_preferred|"
    "unpreferred|worse|worst|y_?l|response_l|completion_l",
}
_ANSWER = "(?:answer|response|completion|output|reply|text|message)s?"
SIDE_WORDS = "|".join(_SIDES.values())
"""A pattern of these words alone."""
NAMED_SIDE = rf"(?:{_ANSWER}[_ -]?)?(?:{SIDE_WORDS})(?:[_ -]?{_ANSWER})?"
"""A pattern of these words, alone or beside one for an answer, such as `good_answer`."""
_MATCHING = {
    side: re.compile(rf"(?:{_ANSWER}[_ -]?)?(?:{words})(?:[_ -]?{_ANSWER})?", re.IGNORECASE)
    for side, words in _SIDES.items()
}


def side_of(column: str) -> str | None:
    """Return which answer a column seems to hold, by its name: `chosen`, `rejected`, or None.

    Example:
        >>> side_of("answer_good"), side_of("Loser"), side_of("goodness")
        ('chosen', 'rejected', None)
    """
    return next((side for side, one in _MATCHING.items() if one.fullmatch(column)), None)
