"""Identity 5, second half: with a class too small EXO seeks a mode and DPO the mean, measured."""

from __future__ import annotations

import pytest
import torch

from benchmarks import mode_seeking
from benchmarks.mode_seeking import HUMPS, WIDTH, draw, fit, optimum, search


@pytest.fixture(scope="module")
def found():
    return {
        name: fit(name, responses=16, seed=0, steps=400, groups=32) for name in mode_seeking.LOSSES
    }


def test_the_optimum_is_the_mixture_it_is_meant_to_be() -> None:
    """Both humps have their weight, within two standard deviations 95.4 % of it."""
    share = optimum().exp()
    assert share.sum().item() == pytest.approx(1)
    for weight, place in HUMPS:
        on = share[(mode_seeking.POINTS - place).abs() <= 2 * WIDTH].sum().item()
        assert on == pytest.approx(0.954 * weight, abs=0.02)


def test_exo_ends_on_the_larger_hump(found) -> None:
    exo, best = found["EXO-rw"], search("reverse")
    assert exo.place == pytest.approx(HUMPS[0][1], abs=0.05)
    assert exo.width == pytest.approx(WIDTH, abs=0.05)
    assert exo.on_first > 0.9 and exo.on_second < 0.001 and exo.between < 0.05
    assert exo.reverse == pytest.approx(best.reverse, abs=0.01)


def test_dpo_ends_between_the_humps(found) -> None:
    """The forward divergence is least where mean and variance are the optimum's: -0.6, 1.43^2."""
    dpo, best = found["DPO-rw"], search("forward")
    assert dpo.place == pytest.approx(0.7 * -1.5 + 0.3 * 1.5, abs=0.15)
    assert dpo.width == pytest.approx((WIDTH**2 + 1.5**2 - 0.6**2) ** 0.5, abs=0.15)
    assert dpo.between > 0.25 and dpo.on_second > 0.1
    assert dpo.forward == pytest.approx(best.forward, abs=0.01)


def test_each_wins_in_its_own_direction(found) -> None:
    exo, dpo = found["EXO-rw"], found["DPO-rw"]
    assert exo.reverse < dpo.reverse - 1
    assert dpo.forward < exo.forward - 1


def test_the_figure_stands_beside_its_numbers(found, tmp_path) -> None:
    paths = draw(found, tmp_path)
    assert [path.name for path in paths] == ["figure-1.png", "figure-1.svg", "figure-1.csv"]
    head, *rows = paths[2].read_text().splitlines()
    assert head == "response,optimum,reference,EXO-rw,DPO-rw" and len(rows) == 161
    sums = torch.tensor([[float(cell) for cell in row.split(",")] for row in rows]).sum(0)
    assert (sums[1:] * 0.05).tolist() == pytest.approx([1, 1, 1, 1], rel=1e-3)
