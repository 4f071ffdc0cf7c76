"""Lengths of gold beside chosen answers, by hand."""

from __future__ import annotations

import math
from itertools import product

from tasks.gold.answer_lengths import length_bound, lengths_of


def test_the_share_counts_every_pair_of_a_gold_and_a_chosen_answer() -> None:
    gold, chosen = [12, 40, 7, 12], [5, 7, 12, 30]
    slow = [(a > b) + (a == b) / 2 for a, b in product(gold, chosen)]
    found = lengths_of(gold, chosen)
    assert found.longer_share == sum(slow) / len(slow)
    assert (found.gold, found.chosen) == (12.0, 9.5)


def test_only_a_share_far_from_one_half_is_called_a_confound() -> None:
    assert "in 100 of 100 cases" in lengths_of([50, 60], [1, 2]).sentence()
    assert "length in place of quality" in lengths_of([50, 60], [1, 2]).sentence()
    assert "length in place of quality" in lengths_of([1], [5, 9]).sentence(), "shorter tells too"
    assert "length in place of quality" not in lengths_of([5, 9], [5, 9]).sentence()


def test_the_bound_is_a_multiple_of_the_longest_of_twenty() -> None:
    assert length_bound(list(range(1, 101)), 3.0) == 3.0 * 96
    assert length_bound([10], 2.0) == 20.0
    assert length_bound([], 2.0) == math.inf
