"""What an EXO run found, in sentences that say what the intervals allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tasks.evaluation.exo.comparisons import Comparison
from tasks.evaluation.exo.density_report import density_findings
from tasks.evaluation.exo.frontier import EqualKl, FrontierPoint, pareto
from tasks.evaluation.exo.series import Series
from tasks.evaluation.metrics.estimates import mean_estimate, over_seeds
from tasks.evaluation.report.headline import Contender


def findings(
    all_series: Sequence[Series],
    comparisons: Sequence[Comparison],
    points: Mapping[str, FrontierPoint],
    density: Mapping[str, Any] | None,
    judge: str,
) -> list[str]:
    """Say who leads at equal KL, who over-optimises, and who fits the optimum.

    The points and rewards are the judge's; the density names policies as the report does.
    """
    # Best-of-N is no policy that one could use: it stands in the table alone.
    trained = {series.name for series in all_series if series.is_trained}
    return [
        *(_comparison(one, judge) for one in comparisons if one.ours in trained),
        *_frontier(all_series, points, judge),
        *_falling(all_series, points, judge),
        *(density_findings(density, comparisons) if density else ()),
    ]


def contenders(
    start: FrontierPoint, all_series: Sequence[Series], points: Mapping[str, FrontierPoint]
) -> list[Contender]:
    """Return the start and the end of every trained line, as the judge of the points scored them.

    Best-of-N is no policy that one could use.
    """
    trained = [one for one in all_series if one.is_trained]
    return [
        Contender(start.series, start.reward, [_by_prompt(start)], None),
        *(_contender(one.name, [points[last.name] for last in one.last]) for one in trained),
    ]


def _contender(name: str, ends: Sequence[FrontierPoint]) -> Contender:
    reward, kl = over_seeds([one.reward for one in ends]), over_seeds([one.kl for one in ends])
    return Contender(name, reward, [_by_prompt(one) for one in ends], kl)


def _by_prompt(point: FrontierPoint) -> dict[str, float]:
    return {str(row): value for row, value in enumerate(point.rewards) if np.isfinite(value)}


def _comparison(comparison: Comparison, judge: str) -> str:
    head = f"{comparison.ours} against {comparison.theirs} at equal KL"
    one = comparison.outcome
    if one is None:
        return f"{head}: one of them never left the start, so there is nothing to compare"
    seeds = f"{one.seeds[0]} and {one.seeds[1]} seeds" if max(one.seeds) > 1 else "1 seed each"
    where = f"{one.low:.2f} to {one.high:.2f} nats, {seeds}"
    if one.on_chord:
        where += (
            f"; {one.on_chord} was not measured there, its chord from the start is a lower bound"
        )
    return (
        f"{head} ({where}): {judge} reward {one.difference:+.3f} (95 %: {one.interval.low:+.3f} to "
        f"{one.interval.high:+.3f}): {_verdict(comparison, one.verdict)}{_pointwise(one)}"
    )


def _verdict(comparison: Comparison, verdict: str) -> str:
    if verdict == "undecided":
        return verdict
    is_better = verdict == "better"
    if comparison.kind == "size":
        return f"more responses {'help' if is_better else 'hurt'}"
    return f"{comparison.subject} is {'ahead' if is_better else 'behind'}"


def _pointwise(one: EqualKl) -> str:
    """Say in how much of the KL range the interval at that KL excludes 0."""
    found = []
    for share, side in ((one.above, "above"), (one.below, "below")):
        if share:
            where = "at every KL" if share == 1 else f"in {share:.0%}"
            found.append(f"{side} {where} of that range")
    return ", " + " and ".join(found) if found else ""


def _frontier(
    all_series: Sequence[Series], points: Mapping[str, FrontierPoint], judge: str
) -> Iterator[str]:
    trained = [
        points[one.name] for series in all_series for one in series.entries if one.kind == "policy"
    ]
    best = [point.series for point in pareto(trained)]
    if best:
        counts = {name: best.count(name) for name in dict.fromkeys(best)}
        ranked = sorted(counts.items(), key=lambda item: -item[1])
        shares = ", ".join(f"{count} of {name}" for name, count in ranked)
        yield (
            f"on the frontier lie {len(best)} of {len(trained)} checkpoints: {shares}; for each of "
            f"them no other one has as much mean {judge} reward at no more KL to the start, which "
            "says nothing of chance"
        )


def _falling(
    all_series: Sequence[Series], points: Mapping[str, FrontierPoint], judge: str
) -> Iterator[str]:
    """Name the branches whose reward had been higher, beyond chance, than it is at the end."""
    for series in all_series:
        for last in (points[one.name] for one in series.last if one.kind == "policy"):
            before = [points[one.name] for one in series.of_seed(last.seed)]
            peak = max(before, key=lambda point: point.reward.value)
            gaps = last.rewards - peak.rewards
            change = mean_estimate(gaps[np.isfinite(gaps)])
            # The peak is the best of several, so part of its lead is luck: ask for more than 95 %.
            if change.count > 1 and change.value < -3 * change.standard_error:
                yield (
                    f"{series.name}, seed {last.seed}: {judge} reward falls from step {peak.step} "
                    f"to {last.step} by {-change.value:.3f} ± {change.standard_error:.3f}, paired "
                    f"by prompt, while KL goes from {peak.kl.value:.2f} to {last.kl.value:.2f}: "
                    "over-optimised"
                )
