"""Data sets of the hub that are a program: `datasets` no longer runs them, and what to do instead.

Such a set has a file `NAME.py` beside no data. The hub keeps a copy of most of them as parquet,
on a branch of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

PARQUET_BRANCH = "refs/convert/parquet"
"""The branch of a data set where the hub keeps its copy as parquet."""
KNOWN_SCRIPTS = frozenset(
    {
        "openai/summarize_from_feedback",
        "openai/webgpt_comparisons",
        "tatsu-lab/alpaca_eval",
        "tatsu-lab/alpaca_farm",
    }
)
"""Sets of preferences and answers whose main branch is a script, known without asking the hub."""


def why_script(name: str, revision: str | None = None, files: Iterable[str] = ()) -> str:
    """Return the sentence that refuses a data set which is a script; empty if it is none.

    Args:
        name: The set's name on the hub.
        revision: Its branch, tag or commit; None is the main branch.
        files: The names of its files there, where the hub has said them.

    Example:
        >>> why_script("owner/pairs", files=["README.md", "data/train.parquet"])
        ''
        >>> why_script("owner/pairs", files=["pairs.py"])[:49]
        "the data set 'owner/pairs' is a loading script, w"
    """
    is_known = name in KNOWN_SCRIPTS and revision in (None, "main")
    if not is_known and f"{name.rpartition('/')[2]}.py" not in files:
        return ""
    return (
        f"the data set {name!r} is a loading script, which `datasets` no longer runs: set "
        f"`revision: {PARQUET_BRANCH}`, where the hub keeps most of them as parquet, or give a "
        "local `path`"
    )
