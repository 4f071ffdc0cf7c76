"""Alignment from Demonstrations (AfD): preference pairs that nobody had to label.

A better and a worse answer to each prompt of the demonstrations, told apart by who wrote them: the
demonstrator, a policy that was fine-tuned on the demonstrations, or the policy before that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple, get_args

from tasks.data.gold_pairs import same_queries
from tasks.data.groups import Group, finished
from tasks.settings.base import FrozenConfig
from tasks.settings.errors import StageError

AfdPairing = Literal["init_sft", "init_demo", "sft_demo"]
"""The pairings by name, the worse side first, as the paper writes them."""


class AfdConfig(FrozenConfig):
    """How pairs are made of demonstrations."""

    pairing: AfdPairing = "init_sft"
    """Who is rejected and who is chosen: `init` (the base policy), `sft` (that fine-tuned on the
    demonstrations) or `demo` (the demonstrations). Default: as AfD's paper recommends."""


class Sides(NamedTuple):
    """Who writes the two answers of a pair: `demo`, `sft` or `init`."""

    rejected: str
    """The worse one."""
    chosen: str
    """The better one."""


def sides_of(pairing: AfdPairing) -> Sides:
    """Return who is chosen and who is rejected.

    `init_sft`, which the paper recommends and the default everywhere here, has both sides from
    models: of a demonstration against a model's sample a reward model learns who wrote it.

    Example:
        >>> sides_of("init_sft")
        Sides(rejected='init', chosen='sft')
    """
    if pairing not in get_args(AfdPairing):
        known = ", ".join(get_args(AfdPairing))
        raise StageError(f"there is no AfD pairing {pairing!r}; known: {known}")
    return Sides(*pairing.split("_"))


def pair_demonstrations(
    pairing: AfdPairing, chosen: Iterable[Group], rejected: Iterable[Group]
) -> tuple[Iterator[Group], Callable[[], dict[str, float]]]:
    """Join the two sides of a pairing by query.

    Args:
        pairing: Which two sides these are; `sides_of` says it.
        chosen: K = 1 groups: demonstrations, or one sample of a policy for each of their prompts.
        rejected: K = 1 groups over the same queries in the same order. Where both sides are
            sampled, the same settings of sampling are expected of both.

    Returns:
        Pairs with the scores (1, 0), chosen first, and a function that returns `groups` (a count),
        `identical_share` and `empty_share` once they have been read: of all queries those whose
        answers are equal, or whose chosen answer has no text, are left out, as such a pair teaches
        nothing, or silence.

    Raises:
        StageError: The pairing is unknown. While reading: a query has not exactly one answer of a
            side, the sides hold different queries, or no pair is left.

    Source:
        Sun and van der Schaar, arXiv 2405.15624 (AfD); its use in arXiv 2411.09341 (AVA).

    Example:
        >>> tuned = [Group((), ("good",), id="p"), Group((), ("same",), id="q")]
        >>> start = [Group((), ("poor",), id="p"), Group((), ("same ",), id="q")]
        >>> pairs, counts = pair_demonstrations("init_sft", tuned, start)
        >>> [(pair.responses, pair.sources) for pair in pairs], counts()["identical_share"]
        ([(('good', 'poor'), ('sft', 'init'))], 0.5)
    """
    sides = sides_of(pairing)
    seen = {"groups": 0, "queries": 0, "identical": 0, "empty": 0}

    def joined() -> Iterator[Group]:
        for better, worse in same_queries(chosen, rejected, (sides.chosen, sides.rejected)):
            texts = _answer(better, sides.chosen), _answer(worse, sides.rejected)
            seen["queries"] += 1
            if not texts[0].strip():
                seen["empty"] += 1
            elif texts[0].strip() == texts[1].strip():
                seen["identical"] += 1
            else:
                seen["groups"] += 1
                yield Group(
                    prompt=better.prompt,
                    responses=texts,
                    scores=(1.0, 0.0),
                    sources=(sides.chosen, sides.rejected),
                    id=better.id,
                    extra={"ended": [*finished(better), *finished(worse)]},
                )
        if not seen["groups"]:
            raise StageError(
                f"no pair of {pairing} is left of {seen['queries']} queries: {seen['identical']} "
                f"have two equal answers, {seen['empty']} an empty one of {sides.chosen}; sample "
                "at a higher temperature, or train longer before"
            )

    def counts() -> dict[str, float]:
        shares = {name: seen[name] / max(seen["queries"], 1) for name in ("identical", "empty")}
        return {"groups": float(seen["groups"])} | {f"{n}_share": s for n, s in shares.items()}

    return joined(), counts


def _answer(group: Group, side: str) -> str:
    """The one answer of a side to a query."""
    if len(group.responses) != 1:
        raise StageError(
            f"the query {group.title} has {len(group.responses)} answers of {side}, and a pair "
            "takes one: sample once for each demonstration"
        )
    return group.responses[0]
