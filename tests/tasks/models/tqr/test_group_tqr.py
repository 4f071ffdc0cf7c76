"""Terms of every response: those of the response alone, whatever shares its pass and its prompt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tasks.models.groups.group_model import GroupPolicy
from tasks.models.groups.packing import PackedGroups
from tasks.models.padded_batches import GroupBatch
from tasks.models.tqr.config import TqrConfig
from tasks.models.tqr.group_tqr import GroupTqr, TqrOutput, column
from tasks.models.tqr.heads import Rewards, TqrHeads
from tasks.models.tqr.response_rewards import response_rewards
from tasks.objectives.ava import AvaTerms, ava_d, ava_p, cer
from tasks.settings.errors import ConfigError
from tests.tasks.models import families
from tests.tasks.models.families import PAD, distance, group
from tests.tasks.models.tqr.tqr_models import ALL, build, by_hand, random_heads

RAGGED = [group(7, [3, 1, 12], 1), group(1, [5], 2), group(11, [4, 4, 2], 3)]
SETTINGS: dict[str, dict[str, Any]] = {
    "usual": {},
    "tempered": {"alpha": 2.0, "rwt_scale": "sum1"},
    "prob": {"q_map": "prob", "alpha": 5.0},
    "plain": {"rwt": False},
    "own-q": {"ptq": False, "beta": 0.7},
}
FLOATS = ("q", "q_next", "log_lik", "mean", "log_std")


def compare(found: TqrOutput, tqr: GroupTqr, limit: float) -> None:
    for b, whole in enumerate(RAGGED):
        for k, response in enumerate(whole.responses_ids):
            expected, size = by_hand(tqr, whole, k), len(response)
            own = AvaTerms(*(part[b, k] for part in found.terms))
            for name in FLOATS:
                mine, his = getattr(own, name), getattr(expected, name)[0]
                off = float((mine[:size] - his).abs().max())
                assert off <= limit * max(1, float(his.abs().max())), (name, b, k)
                assert not mine[size:].any()
            assert own.action_mask.tolist() == [t < size for t in range(len(own.action_mask))]
            assert own.irl_mask.tolist() == [t < size - 1 for t in range(len(own.irl_mask))]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("family", ["llama", "bart"])
@torch.no_grad()
def test_terms_are_those_of_each_response_alone(family: str, settings: str) -> None:
    """Shared and plain, against transformers' own logits and states of single unpadded rows."""
    tqr = build(family, float64=True, **SETTINGS[settings])
    tqr._use("grouped")
    compare(tqr(tqr.batch(RAGGED, PAD)), tqr, 1e-9)
    tqr.take_plain_path("for comparison")
    compare(tqr(tqr.batch(RAGGED, PAD)), tqr, 1e-9)


@pytest.mark.parametrize("family", ALL)
@torch.no_grad()
def test_a_padded_response_is_that_of_the_response_alone_in_float32(family: str) -> None:
    tqr = build(family)
    tqr.check(families.TEXT)
    assert tqr.shared, tqr.reason
    compare(tqr(tqr.batch(RAGGED, PAD)), tqr, 1e-5)
    tqr.take_plain_path("for comparison")
    batch = tqr.batch(RAGGED, PAD)
    assert tqr.model.config.is_encoder_decoder or isinstance(batch, GroupBatch)
    compare(tqr(batch), tqr, 1e-5)


def losses(output: TqrOutput, tqr: GroupTqr) -> Tensor:
    """AVA-p of pairs with its contrast, and AVA-d of the chosen side."""
    config = tqr.heads.config
    numbers = {"gamma": 0.9, "lam": 0.5, "beta": config.likelihood_weight}
    chosen, rejected = (column(output.terms, k) for k in (0, 1))
    ends = output.mask.sum(-1, keepdim=True) - 1
    last = output.rewards.mean.gather(-1, ends)[..., 0]
    loss = ava_p(chosen, rejected, vocab_size=families.VOCABULARY, **numbers)
    return loss + cer(last[:, 0], last[:, 1]).mean() + ava_d(*chosen, **numbers)


def gradient(tqr: GroupTqr, loss: Tensor) -> Tensor:
    tqr.zero_grad(set_to_none=True)
    loss.backward()
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in tqr.parameters()]
    return torch.cat([part.flatten() for part in parts])


@pytest.mark.parametrize("settings", [*SETTINGS, "lik"])
@pytest.mark.parametrize("family", ["llama-tied", "gpt2", "t5"])
def test_shared_and_plain_losses_and_gradients_agree(family: str, settings: str) -> None:
    given = {"ptq": False, "rwt_on_lik": True} if settings == "lik" else SETTINGS[settings]
    tqr = build(family, float64=True, **given)
    pairs = [group(7, [3, 9], 1), group(2, [5, 1], 2)]
    found = []
    for way in ("grouped", None):
        tqr._use(way)
        loss = losses(tqr(tqr.batch(pairs, PAD)), tqr)
        found.append((loss.detach(), gradient(tqr, loss)))
    assert distance(found[0][0], found[1][0]) <= 1e-9
    assert distance(found[0][1], found[1][1]) <= 1e-9
    assert float(found[0][1].abs().sum()) > 0


def test_causal_and_encoder_decoder_give_the_same_losses_from_the_same_states() -> None:
    """The one batch is packed, the other two-sided; states, heads and output head are the same."""
    causal = build("llama", float64=True)
    sided = build("bart", float64=True)
    head = causal.model.get_output_embeddings()
    sided.model.lm_head = nn.Linear(16, families.VOCABULARY, bias=False, dtype=torch.float64)
    with torch.no_grad():
        sided.model.lm_head.weight.copy_(head.weight)
    sided.heads = causal.heads
    pairs = [group(7, [3, 9], 1), group(2, [5, 1], 2)]
    states = torch.randn(18, 16, dtype=torch.float64)
    values = []
    for tqr in (causal, sided):
        tqr._use("grouped")
        given = states.clone().requires_grad_()
        loss = losses(tqr.read(given, tqr.batch(pairs, PAD)), tqr)
        loss.backward()
        values.append((float(loss.detach()), given.grad))
    assert values[0][0] == values[1][0]
    assert torch.equal(values[0][1], values[1][1])


@pytest.mark.parametrize("config", [{}, {"ptq": False}], ids=["ptq", "own-q"])
def test_the_contrast_teaches_neither_spread_nor_q(config: dict[str, Any]) -> None:
    """CER reads means alone: σ's row of the reward head and every Q head get exactly nothing."""
    tqr = build("llama", **config)
    output = tqr(tqr.batch([group(7, [3, 9], 1)], PAD))
    last = response_rewards(output).last
    cer(last[:, 0], last[:, 1]).sum().backward()
    of_mean, of_spread = tqr.heads.reward.weight.grad
    assert of_mean.any() and not of_spread.any()
    q_head = tqr.model.get_output_embeddings() if tqr.heads.config.ptq else tqr.heads.q_head
    assert q_head.weight.grad is None or not q_head.weight.grad.any()


@pytest.mark.parametrize("family", ["llama", "gpt2", "bart"])
@pytest.mark.parametrize("way", ["grouped", None])
@torch.no_grad()
def test_no_position_sees_what_comes_after_it_but_by_the_weights(
    family: str, way: str | None
) -> None:
    """A changed token k leaves Q and μ of the positions up to it, which have not seen it.

    Position k chooses it, so its Q is that of another action. With weights, only these tell.
    """
    whole, k = group(5, [6], 1), 2
    (ids,) = whole.responses_ids
    other = replace(whole, responses_ids=[[*ids[:k], 3 + (ids[k] - 2) % 20, *ids[k + 1 :]]])
    assert other != whole
    for rwt in (False, True):
        tqr = build(family, float64=True, rwt=rwt)
        tqr._use(way)
        outputs = [tqr(tqr.batch([one], PAD)) for one in (whole, other)]
        found = []
        for output in outputs:
            weights = output.rewards.weights
            pair = output.rewards.mean / weights, output.terms.q / weights
            found.append([part[0, 0] for part in pair])
        (mean, q), (mean_other, q_other) = found
        torch.testing.assert_close(mean[: k + 1], mean_other[: k + 1], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(q[:k], q_other[:k], rtol=1e-9, atol=1e-9)
        assert (mean[k + 1 :] != mean_other[k + 1 :]).all() and q[k] != q_other[k]
        first = [output.rewards.weights[0, 0, 0].item() for output in outputs]
        assert (first[0] != first[1]) == rwt


@torch.no_grad()
def test_the_reward_head_of_tied_t5_reads_states_as_they_are() -> None:
    """Its output head reads them scaled down: rewards of the size of 1/4 would be wrong."""
    tqr = build("t5", rwt=False)
    assert tqr.model.config.scale_decoder_outputs
    batch = tqr.batch([group(4, [3])], PAD)
    mean = tqr(batch).rewards.mean[0, 0]
    decoder = tqr.model.get_decoder()
    hidden = decoder(
        input_ids=batch.decoder_input_ids,
        encoder_hidden_states=tqr.model.get_encoder()(batch.input_ids).last_hidden_state,
    ).last_hidden_state[0]
    assert torch.allclose(mean, tqr.heads.reward(hidden)[:, 0], atol=1e-5)


@torch.no_grad()
def test_a_cut_response_scores_its_appended_end_and_does_not_learn_it() -> None:
    tqr = build("gpt2")
    batch = tqr.batch([group(3, [4, 1])], PAD)
    whole = tqr(batch)
    cut = tqr(batch, torch.tensor([[False, True]]))
    assert cut.terms.action_mask[0].tolist() == [[True, True, True, False], [True] + [False] * 3]
    assert cut.terms.irl_mask[0].tolist() == [[True, True, False, False], [False] * 4]
    assert torch.equal(cut.rewards.mean, whole.rewards.mean)
    assert torch.equal(cut.mask, whole.mask)


@torch.no_grad()
def test_switches_change_their_terms_alone() -> None:
    base = build("gpt2")
    batch = base.batch([group(3, [4])], PAD)
    usual = base(batch).terms
    later = with_config(base, reward_shift=1)(batch).terms
    assert torch.equal(later.mean[..., :-1], usual.mean[..., 1:])
    assert torch.equal(later.log_std[..., :-1], usual.log_std[..., 1:])
    assert torch.equal(later.q, usual.q)
    assert torch.equal(with_config(base, rwt_on_lik=True)(batch).terms.log_lik, usual.q)


@pytest.mark.parametrize(("switch", "others"), [("detach_rwt", {}), ("detach_next_q", {})])
def test_detached_parts_get_no_gradient(switch: str, others: dict[str, Any]) -> None:
    tqr = with_config(build("gpt2"), **{switch: True}, **others)
    terms = tqr(tqr.batch([group(3, [4])], PAD)).terms
    if switch == "detach_next_q":
        assert not terms.q_next.requires_grad and terms.q.requires_grad
    else:
        terms.q.sum().backward()
        assert tqr.heads.queries.weight.grad is None


def with_config(tqr: GroupTqr, **changes: Any) -> GroupTqr:
    config = TqrConfig(**{**tqr.heads.config.model_dump(), **changes})
    heads = random_heads(config, tqr.model)
    heads.load_state_dict(tqr.heads.state_dict())
    return GroupTqr(tqr.model, heads)


def test_the_likelihood_of_logit_is_supervised_fine_tuning() -> None:
    """α = β = 1: the policy's own log-probabilities, whatever the heads say."""
    tqr = build("llama", float64=True)
    batch = tqr.batch([group(3, [4, 2])], PAD)
    assert isinstance(batch, PackedGroups)
    with torch.no_grad():
        found = tqr(batch).terms.log_lik.sum(-1)
        assert distance(found, GroupPolicy(tqr.model)(batch)) <= 1e-12


def test_the_probe_sees_what_a_fresh_reward_head_hides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rewards read one place too late on the shared path: a zero head says 0 all the same."""
    tqr = GroupTqr(families.build("gpt2"), TqrHeads(TqrConfig(), 16, families.VOCABULARY))
    tqr.check(families.TEXT)
    assert tqr.shared, tqr.reason
    forward = TqrHeads.forward

    def late(heads: TqrHeads, states: Tensor, mask: Tensor) -> Rewards:
        return forward(heads, states.roll(int(tqr.shared), 0), mask)

    monkeypatch.setattr(TqrHeads, "forward", late)
    with torch.no_grad():
        assert not tqr(tqr.batch(RAGGED, PAD)).rewards.mean.any()
    tqr.check(families.TEXT)
    assert not tqr.shared and "differs by" in str(tqr.reason)


def test_a_model_that_changes_its_logits_unknown_to_us_is_refused() -> None:
    model = families.build("bloom")

    class Loud(nn.Linear):
        def forward(self, states: Tensor) -> Tensor:
            return super().forward(states) * 3

    head = model.get_output_embeddings()
    tqr = GroupTqr(model, TqrHeads(TqrConfig(), 16, families.VOCABULARY))
    tqr.check(families.TEXT)
    assert not tqr.shared
    head.__class__ = Loud
    with pytest.raises(ConfigError, match="BloomForCausalLM are not those of its output head"):
        tqr.check(families.TEXT)


@pytest.mark.parametrize("family", ["llama"])
def test_a_model_without_an_output_head_is_refused(family: str) -> None:
    model = families.build(family, "ForSequenceClassification")
    with pytest.raises(ConfigError, match="LlamaForSequenceClassification has no output head"):
        GroupTqr(model, TqrHeads(TqrConfig(), 16, 40))
    model = families.build(family)
    model.lm_head = nn.Sequential(model.lm_head)
    with pytest.raises(ConfigError, match="a Sequential as its output head"):
        GroupTqr(model, TqrHeads(TqrConfig(), 16, 40))


def test_bf16_arithmetic_keeps_what_follows_the_heads_in_float32() -> None:
    tqr = build("gpt2")
    batch = tqr.batch([group(3, [4])], PAD)
    with torch.autocast("cpu", torch.bfloat16):
        output = tqr(batch)
    assert {part.dtype for part in output.terms[:5]} == {torch.float32}
    assert torch.allclose(output.terms.q, tqr(batch).terms.q, atol=0.5)
