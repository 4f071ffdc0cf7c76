"""D_APO as groups to learn from: a gold response, which is meant to win, against samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tasks.data.files import read_groups
from tasks.data.groups import Group
from tasks.data.selection import keep_responses

APO = "apo"
"""What D_APO is called among the data sets of a training."""


def gold_games(folder: Path, *, split_samples: bool) -> Iterator[Group]:
    """Yield the games of a folder: gold in column 0, which alone scores, and samples behind it.

    Args:
        folder: Groups with gold in column 0; one without a sample is no game.
        split_samples: Whether gold against each sample is a game of its own.
    """
    for group in read_groups(folder):
        samples = range(1, len(group.responses))
        scored = replace(group, scores=(1.0, *(0.0 for _ in samples)))
        if split_samples:
            yield from (keep_responses(scored, [0, place]) for place in samples)
        elif samples:
            yield scored
