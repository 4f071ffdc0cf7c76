"""Shared prompts change nothing: loss and gradient are those of a plain pass per response."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.models.groups.group_model import GroupModel, GroupPolicy, GroupReward
from tasks.models.groups.packing import PackedGroups, split_group
from tasks.models.padded_batches import GroupBatch
from tasks.models.tokens.encoding import EncodedGroup
from tasks.settings.errors import ConfigError
from tests.tasks.models import families
from tests.tasks.models.families import PAD, distance, group, ragged_groups, value_and_gradient

# Their plain paths keep parts in float32 that cannot be replaced: Gemma's softmax, Cohere's rotary.
FLOAT64 = [name for name in families.CAUSAL if name not in ("gemma2", "cohere")]
ALL = [*families.CAUSAL, *families.TWO_SIDED]
REWARDS = ["gpt2", "llama", "neox", "qwen3", "mistral", "gemma2"]
RAGGED = [
    group(7, [3, 1, 12], 1),
    group(1, [5], 2),
    group(11, [4, 4, 2, 9, 1, 1, 6, 3], 3),
]
_MODELS: dict[tuple[str, ...], Any] = {}


def built(family: str, kind: str = "ForCausalLM", *, float64: bool = False) -> Any:
    """One model of a family per session."""
    key = (family, kind, str(float64))
    if key not in _MODELS:
        model = families.build(family, kind)
        _MODELS[key] = families.exact(model) if float64 else model
    return _MODELS[key]


def compare(wrapped: GroupModel, groups: list[EncodedGroup], way: str, limit: float) -> None:
    """The loss and the whole gradient of one way against those of the plain path."""
    wrapped._use(None)
    plain = value_and_gradient(wrapped.model, wrapped(wrapped.batch(groups, PAD)))
    wrapped._use(way)  # type: ignore[arg-type]
    batch = wrapped.batch(groups, PAD)
    assert way != "grouped" or not isinstance(batch, GroupBatch)
    found = value_and_gradient(wrapped.model, wrapped(batch))
    assert distance(found[0], plain[0]) <= limit
    assert distance(found[1], plain[1]) <= limit


@pytest.mark.parametrize("way", ["grouped", "dense"])
@pytest.mark.parametrize("family", ALL)
def test_policies_in_float32(family: str, way: str) -> None:
    compare(GroupPolicy(built(family), temperature=0.7), RAGGED, way, 1e-5)


@pytest.mark.parametrize("family", [*FLOAT64, *families.TWO_SIDED])
@settings(max_examples=6, deadline=None)
@given(groups=ragged_groups(), temperature=st.sampled_from([0.5, 1.0, 2.0]))
def test_policies_in_float64(family: str, groups: list[EncodedGroup], temperature: float) -> None:
    policy = GroupPolicy(built(family, float64=True), temperature=temperature)
    compare(policy, groups, "grouped", 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("family", [*FLOAT64, *families.TWO_SIDED])
@settings(max_examples=150, deadline=None)
@given(groups=ragged_groups(most=5, longest=30), temperature=st.floats(0.2, 5))
def test_policies_in_float64_at_length(
    family: str, groups: list[EncodedGroup], temperature: float
) -> None:
    policy = GroupPolicy(built(family, float64=True), temperature=temperature)
    for way in ("grouped", "dense"):
        compare(policy, groups, way, 1e-9)


@pytest.mark.parametrize("way", ["grouped", "dense"])
@pytest.mark.parametrize("family", REWARDS)
def test_rewards_in_float32(family: str, way: str) -> None:
    compare(GroupReward(built(family, "ForSequenceClassification")), RAGGED, way, 1e-5)


@settings(max_examples=6, deadline=None)
@given(groups=ragged_groups(), family=st.sampled_from(REWARDS[:-1]))
def test_rewards_in_float64(groups: list[EncodedGroup], family: str) -> None:
    model = built(family, "ForSequenceClassification", float64=True)
    compare(GroupReward(model), groups, "grouped", 1e-9)


@settings(max_examples=10, deadline=None)
@given(
    groups=ragged_groups(most=4),
    family=st.sampled_from(["llama", "mistral", "gpt2", "t5"]),
    draw=st.data(),
)
def test_order_and_rows_do_not_move_the_numbers(
    groups: list[EncodedGroup], family: str, draw: Any
) -> None:
    """The same groups in another order, over several rows, and a large one cut by a budget."""
    policy = GroupPolicy(built(family, float64=True))
    with torch.no_grad():
        together = policy(policy.batch(groups, PAD))
        order = draw.draw(st.permutations(range(len(groups))))
        cut = draw.draw(st.integers(1, len(groups)))
        budget = draw.draw(st.integers(1, 60))
        for row in filter(None, (order[:cut], order[cut:])):
            apart = policy(policy.batch([groups[i] for i in row], PAD))
            for place, i in enumerate(row):
                width = len(groups[i].responses_ids)
                assert distance(apart[place, :width], together[i, :width]) <= 1e-9
        for i, whole in enumerate(groups):
            found = [policy(policy.batch([part], PAD))[0] for part in split_group(whole, budget)]
            assert distance(torch.cat(found), together[i, : len(whole.responses_ids)]) <= 1e-9


@pytest.mark.parametrize("family", ["llama", "gpt2", "bart", "t5"])
def test_a_padded_response_is_that_of_the_response_alone(family: str) -> None:
    policy = GroupPolicy(built(family, float64=True))
    for way in ("grouped", None):
        policy._use(way)  # type: ignore[arg-type]
        with torch.no_grad():
            together = policy(policy.batch(RAGGED, PAD))
            for b, whole in enumerate(RAGGED):
                for k, one in enumerate(split_group(whole, 1)):
                    alone = policy(policy.batch([one], PAD))[0, 0]
                    assert float(alone) == pytest.approx(float(together[b, k]), rel=1e-9)
        assert bool((together[[[0] * 5, [1] * 5], [[3, 4, 5, 6, 7], [1, 2, 3, 4, 5]]] == 0).all())


@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral"])
def test_bf16_autocast_stays_close(family: str) -> None:
    model = families.build(family)
    with torch.no_grad():
        for parameter in model.parameters():  # as small as a model's usual weights
            parameter.mul_(0.5)
    policy = GroupPolicy(model)
    exact = value_and_gradient(model, policy(policy.batch(RAGGED, PAD)))
    for way in ("grouped", "dense"):
        policy._use(way)  # type: ignore[arg-type]
        with torch.autocast("cpu", torch.bfloat16):
            numbers = policy(policy.batch(RAGGED, PAD))
        assert numbers.dtype == torch.float32
        found = value_and_gradient(model, numbers)
        assert distance(found[0], exact[0]) < 0.05
        assert distance(found[1], exact[1]) < 0.2


@pytest.mark.parametrize("family", [*families.CAUSAL, *families.TWO_SIDED])
def test_the_check_finds_who_can_share(family: str) -> None:
    policy = GroupPolicy(built(family))
    policy.check(families.TEXT)
    assert (policy.shared, policy.reason) == (True, None)


@pytest.mark.parametrize("family", families.APART)
def test_the_check_finds_who_cannot_share(family: str) -> None:
    model = families.build(family)
    policy = GroupPolicy(model)
    policy.check(families.TEXT)
    assert not policy.shared
    assert policy.reason.startswith(f"{type(model).__name__} does not share prompts (grouped: ")
    batch = policy.batch(RAGGED, PAD)
    assert isinstance(batch, GroupBatch)
    assert bool((policy(batch) < 0)[batch.mask].all())


def test_the_check_is_not_fooled_by_small_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model fresh from its random start hardly attends; sharing wrongly shows in its states."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    policy = GroupPolicy(LlamaForCausalLM(LlamaConfig(**families.COMMON, **families.SHAPE)))
    policy.check(families.TEXT)
    assert policy.shared
    monkeypatch.setattr(policy, "_ways", lambda: ["grouped"])
    monkeypatch.setattr(
        GroupModel, "hidden", lambda self, row: real(self, row._replace(position_ids=zeros(row)))
    )
    policy.check(families.TEXT)
    assert not policy.shared and "differs by" in str(policy.reason)


real = GroupModel.hidden


def zeros(row: PackedGroups) -> torch.Tensor:
    return torch.arange(row.tokens)[None]  # positions of a row that is one long text


def test_the_check_is_the_same_under_autocast_and_leaves_the_mode_alone() -> None:
    policy = GroupPolicy(built("llama")).train()
    with torch.autocast("cpu", torch.bfloat16):
        policy.check(families.TEXT)
    assert policy.shared and policy.training
    policy.eval()


def test_dropout_is_drawn_anew_for_each_response() -> None:
    policy = GroupPolicy(families.build("llama", attention_dropout=0.5))
    policy.check(families.TEXT)
    assert not policy.shared
    assert "while its attention_dropout is above 0" in str(policy.reason)
    policy._use("grouped")
    with pytest.raises(NotImplementedError, match="has no dropout"):
        policy.train()(policy.batch(RAGGED, PAD))


def test_ids_beyond_the_vocabulary_are_named() -> None:
    policy = GroupPolicy(built("llama"))
    stranger = EncodedGroup([3, 4], [[5, families.VOCABULARY]], False, [False])
    for way in ("grouped", None):
        policy._use(way)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="token id 40 .* vocabulary of 40 ids"):
            policy.batch([stranger], PAD)


def test_a_window_that_a_mask_would_have_to_know_keeps_the_plain_layout() -> None:
    policy = GroupPolicy(built("mistral"))
    policy._use("dense")
    assert isinstance(policy.batch([group(3, [2, 1])], PAD), PackedGroups)
    assert isinstance(policy.batch([group(3, [3, 1])], PAD), GroupBatch)
    policy._use("grouped")
    assert isinstance(policy.batch([group(3, [3, 1])], PAD), PackedGroups)


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3", "t5"])
def test_gradient_checkpointing_changes_nothing(family: str) -> None:
    model = families.build(family)
    policy = GroupPolicy(model).train()
    batch = policy.batch(RAGGED, PAD)
    without = value_and_gradient(model, policy(batch))
    model.activation_checkpointing_enable({"use_reentrant": False})
    again = value_and_gradient(model, policy(batch))
    # T5's attention takes another kernel where its bias has a gradient.
    assert distance(again[0], without[0]) <= 1e-6
    assert distance(again[1], without[1]) <= 1e-6


def test_other_passes_of_the_model_are_its_own() -> None:
    """Generation and plain calls work while a model shares prompts; its config is saved clean."""
    model = families.build("llama")
    ids = torch.tensor([[5, 6, 7, 8]])
    before = model(ids).logits
    policy = GroupPolicy(model)
    policy(policy.batch(RAGGED, PAD))
    assert torch.equal(model(ids).logits, before)
    drawn = model.generate(ids, max_new_tokens=3, do_sample=False)
    assert drawn.shape == (1, 7)
    assert "sparring" not in model.config.to_json_string()
    assert "forward" not in vars(model.get_output_embeddings())


def test_flex_is_told_the_same_as_the_dense_mask() -> None:
    """What an accelerator's flex attention would be told, cell by cell."""
    from tasks.models.groups.attention_masks import block_mask, dense_mask
    from tasks.models.groups.packing import pack

    row = pack(RAGGED)
    allowed = dense_mask(row, torch.float32)[0, 0] == 0
    blocks = block_mask(row)
    places = torch.arange(row.tokens)
    zero = torch.zeros((), dtype=torch.long)
    said = blocks.mask_mod(zero, zero, places[:, None], places[None, :])
    assert torch.equal(said, allowed)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_compiled_backbone_gives_the_same(family: str) -> None:
    model = families.build(family)
    policy = GroupPolicy(model)
    batch = policy.batch(RAGGED, PAD)
    plain = value_and_gradient(model, policy(batch))
    model.base_model.compile(dynamic=True)
    compiled = value_and_gradient(model, policy(batch))
    assert distance(compiled[0], plain[0]) <= 1e-5
    assert distance(compiled[1], plain[1]) <= 1e-5


def test_a_reward_of_an_unfinished_group_is_finite_and_empty_slots_are_zero() -> None:
    reward = GroupReward(built("llama", "ForSequenceClassification"))
    with torch.no_grad():
        values = reward(reward.batch([group(4, [1]), group(2, [3, 1, 2])], PAD))
    assert values.shape == (2, 3) and values.dtype == torch.float32
    assert values[0, 1:].tolist() == [0.0, 0.0]
    assert all(math.isfinite(value) for value in values.flatten().tolist())
