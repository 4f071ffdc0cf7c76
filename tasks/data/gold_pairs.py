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
        for answer, sampled in zip_longest(gold, samples):
            if answer is None or sampled is None or answer.id != sampled.id:
                names = [group.id if group else "none" for group in (answer, sampled)]
                raise StageError(
                    f"gold and samples hold different queries: {names[0]} against {names[1]}; "
                    "sample the policy on the prompts of this gold set"
                )
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
