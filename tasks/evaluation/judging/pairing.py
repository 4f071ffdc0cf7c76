"""Two sides' answers to the same prompts, put together pair by pair."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from tasks.data.files import read_groups
from tasks.data.groups import Group
from tasks.data.selection import sampled
from tasks.evaluation.judging.verdicts import Pair
from tasks.settings.errors import ConfigError


class Sides(NamedTuple):
    """The folders of groups that a match is made of."""

    ours: Path
    """Our answers."""
    theirs: Path | None = None
    """The opponent's; None: the second response of each of our groups."""
    gold: Path | None = None
    """Golden answers, for a question that shows them."""
    our_scores: Mapping[str, Path] = {}
    """Our answers as scored by reward models, by their name."""
    their_scores: Mapping[str, Path] = {}
    """The opponent's; not read without one."""


def read_sides(sides: Sides, most: int | None) -> dict[str, Pair]:
    """Return at most so many pairs of the answers of two sides, with the golden answers."""
    theirs = read_groups(sides.theirs or sides.ours)
    others = theirs if sides.theirs else map(opposed, theirs)
    gold = read_groups(sides.gold) if sides.gold else ()
    return matched_pairs(read_groups(sides.ours), others, most, gold)


def opposed(group: Group) -> Group:
    """Return a group whose first response is the second of the given one."""
    return Group(prompt=group.prompt, responses=group.responses[1:], id=group.id)


def matched_pairs(
    ours: Iterable[Group],
    theirs: Iterable[Group],
    most: int | None,
    references: Iterable[Group] = (),
) -> dict[str, Pair]:
    """Pair two sides' first answers to the prompts that both answered, a sample of them.

    Args:
        ours: Groups with at least one response.
        theirs: Those of the opponent; other prompts are left out.
        most: At most so many pairs, the same prompts whoever plays; None for all.
        references: Groups whose first response is golden.

    Returns:
        The pairs by the prompt's id, in the order of ours.

    Raises:
        ConfigError: They share no prompt.
    """
    others = {group.id: group for group in theirs if group.responses}
    golden = {group.id: group.responses[0] for group in references if group.responses}
    shared = [group for group in ours if group.responses and group.id in others]
    if not shared:
        raise ConfigError(
            "the two sides answered no prompt in common: judge samples that were drawn for the "
            "same prompts"
        )
    asked = [Group(prompt=group.prompt, id=group.id) for group in shared]
    chosen = {group.id for group in sampled(asked, most)}
    return {
        group.id: Pair(
            group.prompt, group.responses[0], others[group.id].responses[0], golden.get(group.id)
        )
        for group in shared
        if group.id in chosen
    }


def require_references(pairs: Mapping[str, Pair], question: str) -> None:
    """Refuse to ask a question that shows golden answers where they show nothing, or one side.

    Args:
        pairs: What is asked about, by the prompt's id.
        question: The question's name.

    Raises:
        ConfigError: A pair has no golden answer, or all answers of one side are the golden ones.
    """
    missing = [name for name, pair in pairs.items() if pair.reference is None]
    if missing:
        raise ConfigError(
            f"the question {question!r} shows a reference answer, and {len(missing)} of "
            f"{len(pairs)} prompts have none: give gold answers to them, or ask another question"
        )
    for side in ("ours", "theirs"):
        if pairs and all(getattr(pair, side) == pair.reference for pair in pairs.values()):
            raise ConfigError(
                f"the question {question!r} shows a reference answer, and the answers of one side "
                "are these references: ask another question"
            )
