"""D_APO: gold responses and policy samples of the same query joined into one group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest

from tasks.data.groups import Group, finished
from tasks.settings.errors import StageError


def pair_gold_with_samples(
    gold: Iterable[Group], samples: Iterable[Group]
) -> tuple[Iterator[Group], Callable[[], dict[str, float]]]:
    """Join gold and samples by query.

    Args:
        gold: K = 1 groups; column 0 is the gold response.
        samples: K = S groups in the same order over the same queries, as the sampler writes them.

    Returns:
        The joined groups, gold first, and a function that returns `groups` (a count), `samples` (a
        count) and `identical_share` once the groups have been read. A sample equal to its gold is
        left out, and a query whose samples all equal it: such a pair teaches nothing.

    Raises:
        StageError: While reading, if the two do not hold the same queries in the same order.

    Example:
        >>> a = Group(prompt=(), responses=("best",), id="q")
        >>> b = Group(prompt=(), responses=("best", "bad"), id="q")
        >>> pairs, counts = pair_gold_with_samples([a], [b])
        >>> [pair.responses for pair in pairs], counts()["identical_share"]
        ([('best', 'bad')], 0.5)
    """
    seen = {"groups": 0, "samples": 0, "identical": 0}

    def joined() -> Iterator[Group]:
        for answer, sampled in same_queries(gold, samples, ("gold", "samples")):
            best = answer.responses[0]
            others = [
                (text, ended)
                for text, ended in zip(sampled.responses, finished(sampled), strict=True)
                if text.strip() != best.strip()
            ]
            seen["samples"] += len(sampled.responses)
            seen["identical"] += len(sampled.responses) - len(others)
            if others:
                seen["groups"] += 1
                yield Group(
                    prompt=answer.prompt,
                    responses=(best, *(text for text, _ in others)),
                    sources=("gold", *("policy" for _ in others)),
                    id=answer.id,
                    extra={"ended": [True, *(ended for _, ended in others)]},
                )

    def counts() -> dict[str, float]:
        share = seen["identical"] / seen["samples"] if seen["samples"] else 0.0
        return {
            "groups": float(seen["groups"]),
            "samples": float(seen["samples"]),
            "identical_share": share,
        }

    return joined(), counts


def same_queries(
    left: Iterable[Group], right: Iterable[Group], names: tuple[str, str]
) -> Iterator[tuple[Group, Group]]:
    """Yield the groups of two sets side by side.

    Args:
        left: The set whose prompts the other was to answer.
        right: The other, over the same queries in the same order.
        names: What the two are called, for the message.

    Raises:
        StageError: While reading, if the two do not hold the same queries in the same order.
    """
    for pair in zip_longest(left, right):
        one, other = pair
        if one is None or other is None or one.id != other.id:
            found = [group.id if group else "none" for group in pair]
            raise StageError(
                f"{names[0]} and {names[1]} hold different queries: {found[0]} against {found[1]}; "
                f"{names[1]} must be sampled on the prompts of {names[0]}"
            )
        yield one, other
