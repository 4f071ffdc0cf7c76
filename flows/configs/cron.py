"""Whether a cron expression means something, said before Prefect is there to say it.

Prefect's server counts with its own copy of croniter, so croniter is what decides here too; a test
compares them. (`cronsim`, which Prefect brings for something else, refuses `@daily` and `fri-mon`.)
"""

from __future__ import annotations

from croniter import croniter

_FIELDS = ("minute", "hour", "day of the month", "month", "day of the week")


def check_cron(text: str) -> None:
    """Check a cron expression of five fields, or a word such as `@daily`.

    Raises:
        ValueError: It is none; the message names the field that is wrong and its range.

    Example:
        >>> check_cron("30 3 * * mon-fri")
        >>> check_cron("61 3 * * *")
        Traceback (most recent call last):
        ValueError: '61' is no minute: numbers from 0 to 59, as in 5, 1-4, */2 or 1,3
    """
    parts = text.split()
    if text.startswith("@") and croniter.is_valid(text):
        return
    if len(parts) != len(_FIELDS):
        raise ValueError(
            f"{text!r} has {len(parts)} fields; a cron expression has five: minute, hour, day of "
            "the month, month, day of the week, as in '0 3 * * *' (every day at 3:00)"
        )
    for place, (name, part) in enumerate(zip(_FIELDS, parts, strict=True)):
        alone = ["*"] * place + [part] + ["*"] * (len(parts) - place - 1)
        # R is a random number in croniter, drawn anew each time: no schedule that two could share.
        if part[0] in "Rr" or not croniter.is_valid(" ".join(alone)):
            low, high = croniter.RANGES[place]
            raise ValueError(
                f"{part!r} is no {name}: numbers from {low} to {high}, as in 5, 1-4, */2 or 1,3"
            )
