"""A step is cut into as few forward passes as fit, equally many on every rank."""

from __future__ import annotations

from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from tasks.training.data.micro_batches import Piece, pieces_of, share_out

sizes_of_steps = st.lists(st.integers(1, 60), min_size=1, max_size=40)


@given(sizes_of_steps, st.integers(60, 150), st.integers(1, 5))
def test_every_item_is_in_exactly_one_pass_that_fits(sizes, budget, ranks):
    shares = share_out(sizes, budget, ranks)
    assert len(shares) == ranks
    assert len({len(passes) for passes in shares}) == 1
    passes = [items for share in shares for items in share]
    assert sorted(item for items in passes for item in items) == list(range(len(sizes)))
    assert all(sum(sizes[item] for item in items) <= budget for items in passes)
    assert all(items == sorted(items) for items in passes)
    # First-fit decreasing needs at most 11/9 of the fewest passes, and 6/9.
    fewest = max(1, ceil(sum(sizes) / budget))
    filled = [items for items in passes if items]
    assert len(passes) < ceil((11 * fewest * 2 + 6) / 9 / ranks) * ranks + ranks
    assert filled


def test_passes_are_filled_evenly():
    """Ten items of 10 under a budget of 60: two passes of 50, not 60 and 40."""
    (passes,) = share_out([10] * 10, 60, 1)
    assert [len(items) for items in passes] == [5, 5]


def test_an_item_above_the_budget_stands_alone():
    (passes,) = share_out([5, 100, 6], 20, 1)
    assert passes == [[1], [0, 2]]


@given(sizes_of_steps, st.integers(60, 150), st.integers(1, 5))
def test_a_rank_without_rows_repeats_the_smallest_without_weight(sizes, budget, ranks):
    rows = list(range(100, 100 + len(sizes)))
    table = {"a": [0] * 100 + sizes}
    counted: list[int] = []
    for rank in range(ranks):
        for piece in pieces_of({"a": rows}, table, budget, rank, ranks):
            if piece.counts:
                counted += piece.rows
            else:
                (row,) = piece.rows
                assert table["a"][row] == min(sizes)
    assert sorted(counted) == rows


def test_sets_are_never_mixed():
    found = pieces_of({"a": [1, 0], "b": [0]}, {"a": [3, 4], "b": [5]}, 100, 0, 1)
    assert found == [Piece("a", [1, 0], True), Piece("b", [0], True)]
