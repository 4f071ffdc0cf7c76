"""Which responses a method learns from, for methods that share their choice.

Methods with the same choice share one pass of the reference model.
"""

from __future__ import annotations

from tasks.data.groups import Group
from tasks.data.selection import keep_responses
from tasks.settings.errors import ConfigError
from tasks.training.methods.method import require_scores


def best_against_worst(group: Group) -> list[Group]:
    """Return the pair of the best and the worst response, or nothing where all scores tie.

    Raises:
        ConfigError: The group has too few responses or no scores.
    """
    scores = require_scores(group, "a method on pairs", at_least=2)
    best, worst = scores.index(max(scores)), scores.index(min(scores))
    return [] if best == worst else [keep_responses(group, [best, worst])]


def all_if_scores_differ(group: Group) -> list[Group]:
    """Return the group whole, or nothing where all scores tie.

    Raises:
        ConfigError: The group has too few responses or no scores.
    """
    scores = require_scores(group, "a method on scored groups", at_least=2)
    return [] if min(scores) == max(scores) else [group]


def first_responses(group: Group, count: int | None) -> Group:
    """Return the group with its first so many responses; None: with all.

    Raises:
        ConfigError: It has fewer.
    """
    held = len(group.responses)
    if count is None or count == held:
        return group
    if count > held:
        raise ConfigError(
            f"responses, the K of its coefficients, is {count}, and group {group.title} has {held} "
            f"response{'' if held == 1 else 's'}: sample {count} per prompt, or lower it to {held}"
        )
    return keep_responses(group, list(range(count)))
