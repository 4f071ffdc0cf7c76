"""AVA against the golden table of its specification, and against loops over numbers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.objectives.ava import AvaTerms, ava_d, ava_p, cer, gaussian_kl, td_log_density
from tests.tasks.objectives.ava_rows import padded, terms_of, weights_of
from tests.tasks.objectives.slow_ava import Row, golden_row, slow_d, slow_p, spell

CHOSEN, REJECTED = golden_row(rejected=False), golden_row(rejected=True)
NUMBERS = {"lam": 0.5, "c_kl": 1.0, "beta": 1.0}
GOLDEN = {
    None: {
        "log_lik": [-1.151535, -2.114938, -2.102946, -1.025161],
        "td": [0.942253, -0.033021, -1.088037],
        "kl": [0.029831, 0.013399, 0.067423],
        "fit": [-1.163148, -0.810636, -1.216864],
        "last": (-0.269028, -0.172447),
        "whole": (-0.105482, -0.155207),
        "losses": (2.167304, 1.343211, 0.475874),
        "weights": ([1.0] * 4, [1.0] * 4),
    },
    "mean1": {
        "log_lik": [-1.151535, -2.114938, -2.102946, -1.025161],
        "td": [0.947894, -0.612247, -0.911469],
        "kl": [0.030481, 0.002890, 0.129972],
        "fit": [-1.216616, -1.062833, -1.039334],
        "last": (-0.226115, -0.195040),
        "whole": (-0.076250, -0.147387),
        "losses": (2.206223, 1.323978, 0.492232),
        "weights": (
            [1.205008, 1.115444, 0.839057, 0.840492],
            [1.067064, 0.910979, 0.890943, 1.131014],
        ),
    },
}
both_scales = pytest.mark.parametrize("rwt", GOLDEN)


def near(expected: object) -> object:
    return pytest.approx(expected, abs=1e-6)


@both_scales
def test_the_loops_give_the_golden_table(rwt: str | None) -> None:
    golden = GOLDEN[rwt]
    plus, minus = spell(CHOSEN, rwt=rwt), spell(REJECTED, rwt=rwt)
    for name in ("log_lik", "td", "kl", "fit"):
        assert getattr(plus, name) == near(golden[name])
    assert (plus.weights, minus.weights) == tuple(near(w) for w in golden["weights"])
    for name in ("last", "whole"):
        assert (getattr(plus, name), getattr(minus, name)) == near(golden[name])
    preferences = slow_p([plus], [minus], **NUMBERS, neg_guard="none", vocab_size=5)
    contrast = 1 / (1 + math.exp(minus.last - plus.last))
    assert (slow_d([plus], **NUMBERS), preferences, contrast) == near(golden["losses"])


@both_scales
def test_the_functions_give_the_golden_table(rwt: str | None) -> None:
    golden = GOLDEN[rwt]
    sides = [padded([row]) for row in (CHOSEN, REJECTED)]
    plus, minus = (terms_of(*side, rwt=rwt) for side in sides)
    td = (plus.q - 0.99 * plus.q_next)[plus.irl_mask]
    mean, log_std = plus.mean[plus.irl_mask], plus.log_std[plus.irl_mask]
    assert plus.log_lik[plus.action_mask].tolist() == near(golden["log_lik"])
    assert td.tolist() == near(golden["td"])
    assert gaussian_kl(mean, log_std).tolist() == near(golden["kl"])
    assert td_log_density(td, mean, log_std).tolist() == near(golden["fit"])
    for (heads, texts), weights in zip(sides, golden["weights"], strict=True):
        assert weights_of(heads, texts, rwt)[texts.actions].tolist() == near(weights)

    last = plus.mean[:, 4], minus.mean[:, 4]
    assert tuple(score.item() for score in last) == near(golden["last"])
    numbers = {**NUMBERS, "gamma": 0.99}
    losses = (
        ava_d(*plus, **numbers),
        ava_p(plus, minus, **numbers, neg_guard="none", vocab_size=5),
        -cer(*last),
    )
    assert tuple(loss.item() for loss in losses) == near(golden["losses"])


@st.composite
def rows(draw: st.DrawFn, vocabulary: int = 4) -> Row:
    """One response of one to four tokens after a prompt of one to three."""
    prompt, size = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    length = prompt + size
    small = st.floats(-3, 3)

    def table(*, wide: int) -> list[list[float]]:
        return [[draw(small) for _ in range(wide)] for _ in range(length)]

    return Row(
        tokens=[draw(st.integers(0, vocabulary - 1)) for _ in range(length)],
        prompt=prompt,
        logits=table(wide=vocabulary),
        mean=[draw(small) for _ in range(length)],
        log_std=[draw(st.floats(-2, 2)) for _ in range(length)],
        hidden=table(wide=2),
    )


SETTINGS = st.fixed_dictionaries(
    {
        "lam": st.floats(0, 1),
        "c_kl": st.floats(0, 2),
        "beta": st.floats(0.1, 2),
        "b_neg": st.floats(0, 2),
        "irl_on": st.sampled_from(["both", "chosen"]),
        "neg_guard": st.sampled_from(["floor", "none", "unlikelihood"]),
    }
)


@given(
    st.lists(rows(), min_size=1, max_size=3),
    st.lists(rows(), min_size=1, max_size=2),
    SETTINGS,
    st.sampled_from([None, "mean1", "sum1"]),
    st.sampled_from(["logit", "prob", "raw"]),
    st.floats(0, 1),
)
def test_equals_the_loops(
    positive: list[Row],
    negative: list[Row],
    settings: dict[str, float | str],
    rwt: str | None,
    q_map: str,
    gamma: float,
) -> None:
    if q_map == "raw" and settings["neg_guard"] == "unlikelihood":
        settings = {**settings, "neg_guard": "none"}  # a raw Q is no probability
    alpha = {"alpha": 1.5, "q_map": q_map}
    plus, minus = (
        [spell(row, rwt=rwt, gamma=gamma, **alpha) for row in side] for side in (positive, negative)
    )
    fast = [terms_of(*padded(side), rwt=rwt, **alpha) for side in (positive, negative)]
    value = ava_p(*fast, gamma=gamma, vocab_size=4, **settings)
    expected = slow_p(plus, minus, vocab_size=4, **settings)
    assert value.item() == pytest.approx(expected, abs=1e-9, rel=1e-9)

    plain = {name: settings[name] for name in ("lam", "c_kl", "beta")}
    value = ava_d(*fast[0], gamma=gamma, **plain)
    assert value.item() == pytest.approx(slow_d(plus, **plain), abs=1e-9, rel=1e-9)


@both_scales
@pytest.mark.parametrize("junk", [0.0, 7.0, math.inf, math.nan])
def test_padding_changes_no_term(rwt: str | None, junk: float) -> None:
    """A row among longer rows, and filled up with anything, has the terms of the row alone."""
    short = Row(**{n: v if n == "prompt" else v[:4] for n, v in vars(CHOSEN).items()})
    alone = terms_of(*padded([short]), rwt=rwt)
    among = terms_of(*padded([short, REJECTED], width=9, junk=junk), rwt=rwt)
    for name in ("q", "q_next", "log_lik", "mean", "log_std"):
        mask = "action_mask" if name == "log_lik" else "irl_mask"
        single = getattr(alone, name)[getattr(alone, mask)]
        row = getattr(among, name)[:1][getattr(among, mask)[:1]]
        torch.testing.assert_close(row, single, rtol=1e-12, atol=1e-12)
    first = AvaTerms(*(field[:1] for field in among))
    torch.testing.assert_close(
        ava_d(*first, gamma=0.9, lam=0.5), ava_d(*alone, gamma=0.9, lam=0.5), rtol=1e-12, atol=1e-12
    )
