"""Errors that end a command with one clear sentence and a known exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tasks.settings.passwords import without_passwords


class SparringError(ValueError):
    """Something the user can act on; the message says what, without passwords."""

    exit_code = 1

    def __init__(self, *said: Any) -> None:
        """Take the sentence."""
        super().__init__(*(without_passwords(one) if isinstance(one, str) else one for one in said))


class ConfigError(SparringError):
    """Wrong usage or configuration, found before anything expensive.

    A missing file, an unknown name or key, a model that cannot be loaded, splits that overlap.
    """

    exit_code = 2


class UnknownNameError(ConfigError):
    """Nothing here is called by the name that was given."""


class RecordError(SparringError):
    """More of the data cannot be read than the configured share."""


class StageError(SparringError):
    """A stage failed after it had started."""


class GateRefused(SparringError):
    """A result is too far from what was asked to go on."""

    exit_code = 3


class BudgetExhausted(SparringError):
    """The money or the calls allowed are used up; resuming with more goes on from here."""

    exit_code = 4


class Awaited(SparringError):
    """Somebody outside has to answer before a stage can end: no failure, the run waits for it."""

    exit_code = 0


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown name, by the names that would have been right.

    Example:
        >>> did_you_mean("dop", ["dpo", "rjs"])
        "; did you mean 'dpo'? known: dpo, rjs"
    """
    known = list(known)
    match = closest(name, known)
    question = f"; did you mean {match!r}?" if match else ";"
    return f"{question} known: {', '.join(known) or 'none'}"


def seen_from(path: str | Path) -> str:
    """Return the end of a sentence about a missing path: where a relative one counts from.

    Example:
        >>> seen_from("/data/pairs.jsonl")
        ''
    """
    return "" if Path(path).is_absolute() else f", seen from {Path.cwd()}"


def require_path(path: str | Path) -> None:
    """Refuse a file or folder of the user's that is not there.

    Raises:
        ConfigError: It is not there; a relative one is said with the folder it counts from.
    """
    if not Path(path).exists():
        raise ConfigError(f"there is no file or folder '{path}'{seen_from(path)}; check the path")


def one_line(error: BaseException, most: int = 300) -> str:
    r"""Return what a library's error says, as a part of a sentence of ours.

    Example:
        >>> one_line(OSError("no such\n  host"))
        'no such host'
    """
    return " ".join(str(error).split())[:most] or type(error).__name__


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` is most likely a misspelling of, or None."""
    by_lower = {item.lower(): item for item in known}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None
