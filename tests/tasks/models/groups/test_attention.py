"""Attention tile by tile against a softmax over a whole mask, however the tiles are cut."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tasks.models.groups import attention_tiles
from tasks.models.groups.attention import _grouped
from tasks.models.groups.attention_masks import dense_mask
from tasks.models.groups.packing import PackedGroups, pack
from tasks.models.tokens.encoding import EncodedGroup
from tests.tasks.models.families import distance, group, ragged_groups

SIZE = 4


@pytest.fixture(params=["joined", "apart", "cut"], autouse=True)
def cutting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Tiles that are joined as usual, never joined, or cut as small as can be."""
    if request.param != "joined":
        monkeypatch.setattr(attention_tiles, "_SPARE_NUMBERS", -1)
    if request.param == "cut":
        monkeypatch.setattr(attention_tiles, "TILE_NUMBERS", 30)
        monkeypatch.setattr(attention_tiles, "_SMALLEST", 2)
    attention_tiles.plan.cache_clear()
    yield request.param
    attention_tiles.plan.cache_clear()


def inputs(row: PackedGroups, heads: int, key_heads: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(heads, row.tokens, SIZE), *[(key_heads, row.tokens, SIZE)] * 2]
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in shapes
    ]


def plain(
    query: Tensor, key: Tensor, value: Tensor, row: PackedGroups, window: int, softcap: float
) -> Tensor:
    """Every token against every token, and what must not be seen thrown away."""
    repeat = len(query) // len(key)
    key, value = key.repeat_interleave(repeat, 0), value.repeat_interleave(repeat, 0)
    scores = query @ key.transpose(1, 2) * 0.3
    if softcap:
        scores = softcap * (scores / softcap).tanh()
    mask = dense_mask(row, torch.float64)[0, 0]
    place = row.position_ids[0]
    if window:
        mask = mask.masked_fill(place[:, None] - place[None, :] >= window, -torch.inf)
    return (scores + mask).softmax(-1) @ value


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    groups=ragged_groups(),
    heads=st.sampled_from([(4, 4), (4, 2), (3, 1)]),
    window=st.sampled_from([0, 0, 1, 4, 9]),
    softcap=st.sampled_from([0.0, 0.5]),
)
def test_values_and_gradients_are_those_of_a_mask(
    groups: list[EncodedGroup], heads: tuple[int, int], window: int, softcap: float
) -> None:
    row = pack(groups)
    ours, theirs = inputs(row, *heads), inputs(row, *heads)
    found = _grouped(*ours, row.edges, 0.3, window, softcap)
    expected = plain(*theirs, row, window, softcap)
    assert distance(found, expected) <= 1e-12
    weights = torch.randn(found.shape, dtype=torch.float64, generator=torch.manual_seed(1))
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    for mine, his in zip(ours, theirs, strict=True):
        assert (mine.grad - his.grad).norm() <= 1e-12 * max(1.0, float(his.grad.norm()))


def test_gradients_are_the_slopes_of_the_values() -> None:
    row = pack([group(4, [3, 1]), group(1, [2])])
    assert torch.autograd.gradcheck(
        lambda q, k, v: _grouped(q, k, v, row.edges, 0.5, 3, 0.7), inputs(row, 2, 1)
    )


def test_other_groups_are_not_even_read() -> None:
    """A group's numbers are the same bits whatever stands beside it, nan included."""
    left, right = group(5, [3, 2], 1), group(6, [1, 4], 2)
    row = pack([left, right])
    query, key, value = (tensor.detach() for tensor in inputs(row, 4, 2))
    border = int(row.edges[1, 0])
    before = _grouped(query, key, value, row.edges, 0.5, 0, 0.0)
    for tensor in (query, key, value):
        tensor[:, border:] = torch.nan
    after = _grouped(query, key, value, row.edges, 0.5, 0, 0.0)
    assert torch.equal(after[:, :border], before[:, :border])
    assert bool(after[:, border:].isnan().all())


def test_inputs_stay_as_they_are() -> None:
    row = pack([group(5, [3, 2])])
    tensors = inputs(row, 2, 2)
    copies = [tensor.detach().clone() for tensor in tensors]
    _grouped(*tensors, row.edges, 0.5, 2, 0.5).sum().backward()
    assert all(torch.equal(*pair) for pair in zip(tensors, copies, strict=True))


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(groups=ragged_groups(), window=st.sampled_from([0, 5]))
def test_tiles_cover_every_query_once(groups: list[EncodedGroup], window: int) -> None:
    row = pack(groups)
    edges = tuple(map(tuple, row.edges.tolist()))
    found = attention_tiles.plan(edges, 2, window, torch.float32, torch.device("cpu"))
    assert len(found) == len(groups)
    places = [place for part in found for tile in part for place in range(tile.start, tile.stop)]
    assert places == list(range(row.tokens))
    for tile in (tile for part in found for tile in part):
        size = tile.stop - tile.start
        seen = size + sum(stop - start for start, stop in tile.past)
        assert 2 * size * seen <= attention_tiles.TILE_NUMBERS or size <= max(
            2, attention_tiles._SMALLEST
        )


def test_small_responses_join_and_long_ones_do_not(cutting: str) -> None:
    def count(prompt: int, responses: list[int]) -> int:
        row = pack([group(prompt, responses)])
        edges = tuple(map(tuple, row.edges.tolist()))
        return len(attention_tiles.plan(edges, 8, 0, torch.float32, torch.device("cpu"))[0])

    if cutting == "joined":
        assert count(20, [5] * 8) == 1
        assert count(300, [200] * 8) == 9
