"""The batch plan: everything exactly once per epoch, evenly, and the same at any cursor."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.data.batches import BatchPlan
from tasks.settings.errors import ConfigError

COUNTS = st.dictionaries(st.sampled_from("abc"), st.integers(0, 40), min_size=1).filter(
    lambda counts: sum(counts.values())
)
PLANS = st.builds(BatchPlan, COUNTS, st.integers(1, 12), st.integers(1, 3), st.integers(0, 9))


@given(PLANS)
def test_every_group_once_per_epoch(plan: BatchPlan) -> None:
    for epoch in range(plan.epochs):
        first = epoch * plan.steps_per_epoch
        steps = [plan.at(first + i) for i in range(plan.steps_per_epoch)]
        for name, count in plan.counts.items():
            assert sorted(i for step in steps for i in step[name]) == list(range(count))


@given(PLANS)
def test_each_set_is_spread_evenly(plan: BatchPlan) -> None:
    """A set of N over n steps has floor(N/n) or ceil(N/n) groups in every step."""
    n = plan.steps_per_epoch
    for step in range(plan.steps):
        for name, indices in plan.at(step).items():
            assert plan.counts[name] // n <= len(indices) <= -(-plan.counts[name] // n)


@given(PLANS, st.randoms(use_true_random=False))
def test_a_step_does_not_depend_on_what_was_read_before(
    plan: BatchPlan, rng: random.Random
) -> None:
    in_order = [plan.at(step) for step in range(plan.steps)]
    steps = list(range(plan.steps))
    rng.shuffle(steps)
    again = BatchPlan(plan.counts, plan.batch_size, plan.epochs, plan.seed)
    for step in steps:
        assert again.at(step) == in_order[step]


@given(PLANS)
def test_samples_seen_counts_what_the_steps_hold(plan: BatchPlan) -> None:
    seen: Counter[str] = Counter()
    for step in range(plan.steps):
        assert plan.samples_seen(step) == {name: seen[name] for name in plan.counts}
        seen.update({name: len(indices) for name, indices in plan.at(step).items()})
    assert plan.samples_seen(plan.steps) == plan.samples_planned
    assert plan.samples_planned == {name: n * plan.epochs for name, n in plan.counts.items()}


def test_steps_by_hand() -> None:
    """10 + 5 groups in batches of 4: ceil(15/4) = 4 steps, two epochs make 8."""
    plan = BatchPlan({"pairs": 10, "gold": 5}, batch_size=4, epochs=2, seed=0)
    assert (plan.steps_per_epoch, plan.steps) == (4, 8)
    # 10 over 4 steps: cuts at 0, 2, 5, 7, 10; 5 over 4: cuts at 0, 1, 2, 3, 5.
    assert [len(plan.at(i)["pairs"]) for i in range(4)] == [2, 3, 2, 3]
    assert [len(plan.at(i)["gold"]) for i in range(4)] == [1, 1, 1, 2]


def test_a_plan_that_ends_early_begins_like_the_whole_one() -> None:
    """10 + 5 groups in batches of 4: the first 3 of 8 steps hold 7 and 3; more steps add none."""
    counts = {"pairs": 10, "gold": 5}
    whole, short = (BatchPlan(counts, 4, 2, 0, most) for most in (None, 3))
    assert [short.at(i) for i in range(short.steps)] == [whole.at(i) for i in range(3)]
    assert short.samples_planned == {"pairs": 7, "gold": 3}
    assert BatchPlan(counts, 4, 2, 0, 100).samples_planned == whole.samples_planned


def test_orders_differ_by_seed_epoch_and_set_and_are_pinned() -> None:
    def order(seed: int, epoch: int, name: str) -> list[int]:
        plan = BatchPlan({"a": 20, "b": 20}, batch_size=40, epochs=2, seed=seed)
        return plan.at(epoch)[name]

    orders = [order(0, 0, "a"), order(1, 0, "a"), order(0, 1, "a"), order(0, 0, "b")]
    assert len({tuple(o) for o in orders}) == 4
    # A changed order would change every training: it must never happen unnoticed.
    plan = BatchPlan({"a": 8}, batch_size=8, epochs=1, seed=0)
    assert plan.at(0) == {"a": PINNED}


PINNED = [3, 7, 6, 5, 2, 4, 1, 0]


def test_global_random_state_is_untouched() -> None:
    random.seed(3)
    before = random.getstate()
    BatchPlan({"a": 50}, batch_size=5, epochs=2, seed=0).at(11)
    assert random.getstate() == before


@pytest.mark.parametrize(
    ("counts", "batch_size", "epochs", "words"),
    [
        ({"a": 3}, 0, 1, "batch_size must be at least 1, got 0"),
        ({"a": 3}, 1, 0, "epochs must be at least 1, got 0"),
        ({"a": 0}, 1, 1, "nothing to train on"),
        ({}, 1, 1, "nothing to train on"),
        ({"a": 3, "b": -1}, 1, 1, "nothing to train on"),
    ],
)
def test_impossible_plans(counts: dict, batch_size: int, epochs: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        BatchPlan(counts, batch_size, epochs, 0)


def test_steps_outside_the_plan() -> None:
    plan = BatchPlan({"a": 3}, 2, 1, 0)
    for step in (-1, 2):
        with pytest.raises(IndexError, match="plan of 2 steps"):
            plan.at(step)
