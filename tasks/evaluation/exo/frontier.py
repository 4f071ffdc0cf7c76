"""The reward–KL frontier: its points, and two series of checkpoints compared at equal KL.

The reward of a series at a KL is read off the straight lines between its checkpoints in order of
their KL, beginning at the start policy (KL 0). Such a chord is within reach of the method: a
mixture of two policies has the mixture of their rewards and, KL being convex, no more than the
mixture of their KLs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tasks.evaluation.metrics.estimates import Estimate, Interval

GRID = 50
"""How many KLs, evenly spaced, two series are compared at."""


@dataclass(frozen=True, slots=True, eq=False)
class FrontierPoint:
    """One checkpoint: how far it went, and what it got there."""

    name: str
    """Name of its evaluation."""
    series: str
    """Name of the series it belongs to."""
    seed: int
    """Seed of the branch."""
    step: int
    """Optimiser steps, or the N of best-of-N."""
    kl: Estimate
    """KL(policy ‖ start), nats per response."""
    reward: Estimate
    """Mean reward under one judge."""
    accuracy: Estimate
    """Mean σ(reward) under that judge."""
    spread: Estimate
    """Deviation of a prompt's rewards, averaged over prompts."""
    log_ratios: np.ndarray
    """Mean log-ratio per prompt, nats; nan where the prompt was not asked. Shape (P,)."""
    rewards: np.ndarray
    """Mean reward per prompt; nan likewise. Shape (P,)."""


@dataclass(frozen=True, slots=True)
class EqualKl:
    """How the rewards of two series differ over the KLs that both reach."""

    ours: str
    """Name of the series that the verdict is about."""
    theirs: str
    """Name of the series that it is compared with."""
    low: float
    """Least KL compared, nats."""
    high: float
    """Largest KL that every seed of both reaches."""
    difference: float
    """Mean over that range of our reward minus theirs."""
    interval: Interval
    """95 % bootstrap interval of the difference, over seeds and prompts."""
    above: float
    """Share of the range where the pointwise 95 % interval lies above 0; 0 if theirs is a bound."""
    below: float
    """Share where it lies below 0; 0 if ours is a bound."""
    seeds: tuple[int, int]
    """How many seeds each has."""
    on_chord: str = ""
    """Name of the series with no checkpoint as near to the start, whose chord from there is the
    least it reaches, so that it cannot be found behind; empty where both have one."""

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `undecided`, seen from ours."""
        if self.interval.low > 0 and self.on_chord != self.theirs:
            return "better"
        return "worse" if self.interval.high < 0 and self.on_chord != self.ours else "undecided"


def pareto(points: Iterable[FrontierPoint]) -> list[FrontierPoint]:
    """Return the points that no other beats, by rising KL.

    A point is beaten by one with at least its reward at no more KL; of two equal ones both stay.
    """
    ranked = sorted(points, key=lambda point: (point.kl.value, -point.reward.value))
    best, kept = -np.inf, list[FrontierPoint]()
    for point in ranked:
        equal = kept and (point.kl.value, point.reward.value) == (kept[-1].kl.value, best)
        if point.reward.value > best or equal:
            kept.append(point)
            best = point.reward.value
    return kept


class Frontier:
    """The points of one judge, resampled together.

    Every resample draws prompts once for all series, so that differences are paired by prompt, and
    seeds for each series by itself. A handful of seeds knows little of its own spread, so their
    part of the deviation is widened as Student's t asks.

    `scipy.stats.bootstrap` does not serve here: it draws observations on one level and weighs all
    that it drew alike, and it would gather every checkpoint's prompts anew for each comparison,
    where one matrix of counts is drawn for all of them.
    """

    def __init__(
        self,
        points: Sequence[FrontierPoint],
        start: FrontierPoint,
        *,
        seed: int = 0,
        resamples: int = 2000,
    ) -> None:
        """Draw the resamples.

        Args:
            points: Those of all series, over the same P prompts.
            start: The policy that all series begin at.
            seed: Seed of a private generator.
            resamples: Number of bootstrap samples of seeds and prompts.
        """
        self.points, self.start, self.resamples = tuple(points), start, resamples
        self._seed = seed

    def reach(self, series: str) -> tuple[float, float]:
        """Return the KLs between which every seed of a series has checkpoints."""
        seeds = self._points_by_seed(series).values()
        ranges = [[point.kl.value for point in points] for points in seeds]
        return max(map(min, ranges)), min(map(max, ranges))

    def reward_at(self, series: str, kl: float) -> tuple[float, Interval] | None:
        """Return a series' reward at a KL, nats, with a 95 % interval; None outside its reach."""
        low, high = self.reach(series)
        if not low <= kl <= high:
            return None
        curve = self._curve(series, np.array([kl]), self._widening(series))[:, 0]
        return float(curve[0]), _interval(curve[1:])

    def compare(self, ours: str, theirs: str) -> EqualKl | None:
        """Compare two series over the KLs that both reach; None where one never left the start.

        Where the ranges in which they were measured do not overlap, it is the range of the one
        nearer to the start, and the other is on the chord from the start to its checkpoints.
        """
        (low_a, high_a), (low_b, high_b) = self.reach(ours), self.reach(theirs)
        low, high = max(low_a, low_b, 0.0), min(high_a, high_b)
        if high <= 0:
            return None
        on_chord = ""
        if low > high:
            low, on_chord = max(min(low_a, low_b), 0.0), ours if low_a > low_b else theirs
        grid = np.linspace(low, high, GRID)
        wider = self._widening(ours, theirs)
        gaps = self._curve(ours, grid, wider) - self._curve(theirs, grid, wider)
        lower, upper = np.percentile(gaps[1:], [2.5, 97.5], axis=0)
        means = gaps.mean(axis=1)
        seeds = len(self._points_by_seed(ours)), len(self._points_by_seed(theirs))
        return EqualKl(
            ours=ours,
            theirs=theirs,
            low=float(low),
            high=float(high),
            difference=float(means[0]),
            interval=_interval(means[1:]),
            above=float((lower > 0).mean()) if on_chord != theirs else 0.0,
            below=float((upper < 0).mean()) if on_chord != ours else 0.0,
            seeds=seeds,
            on_chord=on_chord,
        )

    @cached_property
    def _counts(self) -> np.ndarray:
        """How often each prompt is drawn; row 0 is the sample itself. Shape (1 + R, P)."""
        prompts = len(self.start.rewards)
        generator = np.random.default_rng(self._seed)
        drawn = generator.multinomial(prompts, np.full(prompts, 1 / prompts), size=self.resamples)
        return np.concatenate([np.ones((1, prompts)), drawn])

    def _points_by_seed(self, series: str) -> Mapping[int, list[FrontierPoint]]:
        found: dict[int, list[FrontierPoint]] = {}
        for point in self.points:
            if point.series == series:
                found.setdefault(point.seed, []).append(point)
        return found

    def _widening(self, *all_series: str) -> float:
        """Return how much wider Student's interval is than the normal one, for these seeds."""
        from scipy.special import ndtri, stdtrit

        freedom = sum(len(self._points_by_seed(series)) - 1 for series in all_series)
        return float(stdtrit(freedom, 0.975) / ndtri(0.975)) if freedom else 1.0

    def _curve(self, series: str, grid: np.ndarray, wider: float) -> np.ndarray:
        """Return the reward of a series on a grid of KLs, the mean over its seeds, (1 + R, G)."""
        curves = [
            self._interpolated(points, grid) for points in self._points_by_seed(series).values()
        ]
        weights = self._seed_weights(series, len(curves), wider)
        return np.einsum("rs,srg->rg", weights, np.stack(curves))

    def _seed_weights(self, series: str, seeds: int, wider: float) -> np.ndarray:
        """Return how much each seed counts in each resample. Shape (1 + R, S)."""
        weights = np.full((1 + self.resamples, seeds), 1 / seeds)
        if seeds > 1:
            # Each series draws for itself: the seeds of two series have nothing in common.
            generator = np.random.default_rng([self._seed, *series.encode()])
            drawn = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=self.resamples)
            # Resampling S seeds shows (S − 1) / S of their variance: of three no more than 2/3.
            wider *= np.sqrt(seeds / (seeds - 1))
            weights[1:] += wider * (drawn / seeds - 1 / seeds)
        return weights

    def _interpolated(self, points: Sequence[FrontierPoint], grid: np.ndarray) -> np.ndarray:
        everything = [self.start, *points]
        kls = np.stack([_resampled(self._counts, one.log_ratios) for one in everything], axis=1)
        rewards = np.stack([_resampled(self._counts, one.rewards) for one in everything], axis=1)
        order = kls.argsort(axis=1, kind="stable")
        kls, rewards = (np.take_along_axis(one, order, axis=1) for one in (kls, rewards))
        return np.stack([np.interp(grid, *row) for row in zip(kls, rewards, strict=True)])


def _resampled(counts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the means over the prompts drawn, of those that were asked. Shape (R,)."""
    asked = np.isfinite(values)
    return counts @ np.where(asked, values, 0.0) / np.maximum(counts @ asked, 1e-12)


def _interval(draws: np.ndarray) -> Interval:
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(float(low), float(high))
