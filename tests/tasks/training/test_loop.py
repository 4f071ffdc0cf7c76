"""The loop: gradients add up, bad numbers stop it, what was planned is what was seen."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tasks.models.policy import load_policy
from tasks.models.reward_model import build_reward_model
from tasks.models.tokens.tokenizer import load_tokenizer
from tasks.settings.errors import StageError
from tasks.storage.workspace import Workspace
from tasks.training import loop
from tasks.training.config import PolicyConfig, TrainingConfig
from tasks.training.optimiser import build_optimiser, learning_rate, set_rate
from tests.tasks.training.toy import COUNTS, ToyTask, toy_model, toy_training


def curve(log) -> list[dict[str, float]]:
    return [values for _, values in log.metrics]


class Quiet(ToyTask):
    """The toy without what it draws, so that only the cut into passes differs."""

    def loss(self, model, batch, counts):
        logps = model(batch.groups).sum(dim=1)
        return -logps.sum() / counts[batch.data_set], {}


def test_the_cut_into_passes_changes_nothing(tmp_path, recording_log):
    curves = []
    for tokens in (1000, 45, 25):
        toy_training(tmp_path / str(tokens), recording_log, task=Quiet(), micro_batch_tokens=tokens)
        curves.append([(point["loss"], point["grad_norm"]) for point in curve(recording_log)])
        recording_log.metrics.clear()
    for cut in curves[1:]:
        for mine, whole in zip(cut, curves[0], strict=True):
            assert mine == pytest.approx(whole, rel=1e-4)


def test_a_step_is_what_torch_makes_of_the_whole_batch(tmp_path, recording_log):
    """One step by hand: the plan's groups in one pass, AdamW of torch's own."""
    from tasks.data.batches import BatchPlan

    task, model = Quiet(), toy_model()
    indices = BatchPlan(COUNTS, 11, 1, seed=5).at(0)
    loss = sum(
        task.loss(model, task.micro_batch(name, rows), {name: len(rows)})[0]
        for name, rows in indices.items()
    )
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0).step()
    _, weights = toy_training(
        tmp_path, recording_log, task=Quiet(), batch_size=11, weight_decay=0, micro_batch_tokens=30
    )
    (point,) = curve(recording_log)
    assert point["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert point["grad_norm"] == pytest.approx(norm.item(), rel=1e-4)
    for name, expected in model.model.state_dict().items():
        # A gradient near zero may take either sign: AdamW moves such a weight by the whole rate.
        close = (weights[name] - expected).abs() <= 1e-4
        assert close.float().mean() > 0.97, name


def test_every_step_tells_speed_memory_and_waste(tmp_path, recording_log):
    metrics, _ = toy_training(tmp_path, recording_log)
    for point in curve(recording_log):
        assert point["speed/tokens_per_second"] > point["speed/groups_per_second"] > 0
        assert 0 < point["speed/matmul_share"] < 1
        assert 0.05 < point["speed/peak_memory_gb"] < 100
        assert point["padding_share"] == 0
    # Speeds differ between equal runs, so they are no result.
    assert not [name for name in metrics if name.startswith("speed/")]
    assert metrics["padding_share"] == 0
    assert metrics["tokens"] == sum(sum(ToyTask().sizes(name)) for name in COUNTS)


class Padded(ToyTask):
    """Reports half of its tokens as real ones."""

    def micro_batch(self, name, rows):
        batch = super().micro_batch(name, rows)
        return batch._replace(tokens=batch.tokens // 2)


def test_computed_for_nothing_is_a_share(tmp_path):
    metrics, _ = toy_training(tmp_path, task=Padded())
    assert metrics["padding_share"] == pytest.approx(0.5, abs=0.05)


def test_bf16_computes_in_bf16_and_trains_fp32_weights(tmp_path, recording_log):
    seen = set()

    class Watching(Quiet):
        def loss(self, model, batch, counts):
            hook = model.model.transformer.h[0].attn.c_attn.register_forward_hook(
                lambda module, inputs, output: seen.add(output.dtype)
            )
            try:
                return super().loss(model, batch, counts)
            finally:
                hook.remove()

    _, weights = toy_training(tmp_path, recording_log, task=Watching(), precision="bf16")
    assert seen == {torch.bfloat16}
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    bf16 = curve(recording_log)[0]["loss"]
    recording_log.metrics.clear()
    toy_training(tmp_path / "fp32", recording_log, task=Quiet())
    assert bf16 == pytest.approx(curve(recording_log)[0]["loss"], rel=2e-2)


def test_weights_are_cast_once_per_step(tmp_path):
    """Of two passes of one step only the first casts a weight, so four steps cast it four times."""
    from torch.utils._python_dispatch import TorchDispatchMode

    weight = toy_model().model.transformer.h[0].mlp.c_fc.weight.shape
    casts, passes = [], []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function is torch.ops.aten._to_copy.default and args[0].shape == weight:
                casts.append(kwargs["dtype"])
            return function(*args, **(kwargs or {}))

    class Watching(Quiet):
        def loss(self, model, batch, counts):
            passes.append(batch.indices)
            with Watch():
                return super().loss(model, batch, counts)

    toy_training(tmp_path, task=Watching(), precision="bf16", micro_batch_tokens=20)
    assert len(passes) > 4
    assert casts == [torch.bfloat16] * 4


class Spoiled(ToyTask):
    """A toy that goes wrong on the third optimiser step, on one of its groups."""

    def __init__(self, spoil) -> None:
        super().__init__()
        self.spoil, self.rows = spoil, set()

    def loss(self, model, batch, counts):
        loss, metrics = super().loss(model, batch, counts)
        wrong = (batch.data_set, batch.indices) in self.rows
        return (self.spoil(model, loss) if wrong else loss), metrics


@pytest.mark.parametrize(
    ("what", "spoil"),
    [
        ("loss nan", lambda model, loss: loss * float("nan")),
        ("loss inf", lambda model, loss: loss + float("inf")),
        # The value is finite, its gradient 0 x infinity is not.
        (
            "gradient norm nan",
            lambda model, loss: loss + (0 * model.model.transformer.wte.weight).sqrt().sum(),
        ),
    ],
)
def test_a_bad_number_stops_at_its_step(what, spoil, tmp_path, recording_log):
    from tasks.data.batches import BatchPlan

    task, model = Spoiled(spoil), toy_model()
    row = BatchPlan(COUNTS, 3, 1, seed=5).at(2)["many"][0]
    # Every pass with that group.
    task.rows = Everything("many", row)
    with pytest.raises(StageError, match=f"step 3 of 4 has the {what} on the samples") as caught:
        toy_training(tmp_path, recording_log, model=model, task=task)
    assert f"many[{row}] many-{row}" in str(caught.value)
    assert [step for step, _ in recording_log.metrics] == [1, 2]
    assert Workspace(tmp_path).part_names() == ["step-00000001", "step-00000002"]
    assert all(p.isfinite().all() for p in model.parameters())


class Everything:
    """Contains every pass that has one row of one set."""

    def __init__(self, name: str, row: int) -> None:
        self.name, self.row = name, row

    def __contains__(self, pass_of) -> bool:
        return pass_of[0] == self.name and self.row in pass_of[1]


def test_samples_lost_on_the_way_are_an_error(tmp_path, monkeypatch):
    real = loop.pieces_of
    monkeypatch.setattr(loop, "pieces_of", lambda *given: real(*given)[:1])
    with pytest.raises(StageError, match=r"saw \d samples and 11 were planned"):
        toy_training(tmp_path, micro_batch_tokens=1000)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_dropout_is_what_the_config_says(dropout, tiny_policy):
    model = load_policy(tiny_policy)
    loop._set_dropout(model, 0.5)
    loop._set_dropout(model, dropout)
    model.train()
    ids = torch.arange(10)[None]
    torch.manual_seed(0)
    first = model(ids).logits
    assert torch.equal(first, model(ids).logits) == (dropout == 0)


def test_dropout_of_adapters_is_their_own():
    model = nn.ModuleDict({"lora_dropout": nn.Dropout(0.4), "other": nn.Dropout(0.4)})
    loop._set_dropout(model, 0.1)
    assert (model["lora_dropout"].p, model["other"].p) == (0.4, 0.1)


def test_learning_rates_by_hand():
    """Warm-up of 2 to 1.0, then a cosine over 4 steps: 1, cos² of 22.5°, 45°, 67.5°."""
    config = TrainingConfig(learning_rate=1.0, warmup_steps=2, lr_scheduler="cosine")
    found = [learning_rate(config, step, 6) for step in range(6)]
    assert found == pytest.approx([0.5, 1.0, 1.0, 0.853553, 0.5, 0.146447], abs=1e-6)


def test_a_warm_up_below_one_is_a_share_of_all_steps():
    """Alpaca's 0.03 of 100 steps are 3, of 10 steps 1: rounded up, as transformers does."""
    config = TrainingConfig(learning_rate=1.0, warmup_steps=0.03)
    assert [learning_rate(config, step, 100) for step in range(4)] == pytest.approx(
        [1 / 3, 2 / 3, 1, 1]
    )
    assert learning_rate(config, 0, 10) == 1
    with pytest.raises(ValueError, match=r"whole steps or a share below 1, got 1\.5"):
        TrainingConfig(warmup_steps=1.5)


def test_a_head_learns_at_a_rate_of_its_own(tiny_policy):
    """A head at 1e-3 beside a backbone at 1e-5 is a hundred times as fast at every step."""
    model = build_reward_model(tiny_policy, load_tokenizer(tiny_policy))
    config = TrainingConfig(learning_rate=1e-5, head_learning_rate=1e-3)
    optimiser = build_optimiser(model, config)
    set_rate(optimiser, 5e-6)
    rates = {
        id(parameter): group["lr"]
        for group in optimiser.param_groups
        for parameter in group["params"]
    }
    assert rates.pop(id(model.score.weight)) == pytest.approx(5e-4)
    assert set(rates.values()) == {5e-6}
    assert len(rates) == len(list(model.parameters())) - 1
    with pytest.raises(ValueError, match="a policy has no score head"):
        PolicyConfig(training=config)


def test_weight_decay_spares_vectors(tiny_policy):
    optimiser = build_optimiser(load_policy(tiny_policy), TrainingConfig(weight_decay=0.1))
    for group in optimiser.param_groups:
        matrices = {parameter.ndim >= 2 for parameter in group["params"]}
        assert matrices == {group["weight_decay"] == 0.1}


def test_weight_decay_knows_a_sharded_matrix():
    """DeepSpeed leaves an empty tensor in its place, with its shape beside it."""
    model = nn.Module()
    model.matrix, model.vector = nn.Parameter(torch.empty(0)), nn.Parameter(torch.empty(0))
    model.matrix.ds_shape, model.vector.ds_shape = (4, 4), (4,)
    decays = [
        (group["params"][0] is model.matrix, group["weight_decay"])
        for group in build_optimiser(model, TrainingConfig(weight_decay=0.1)).param_groups
    ]
    assert decays == [(True, 0.1), (False, 0.0)]


def test_a_point_of_the_curves_is_the_mean_of_its_steps(tmp_path, recording_log):
    """Of 8 steps with a point every 3: step 1; the mean of 2 and 3; of 4 to 6; of 7 and 8."""
    curves = {}
    for every in (1, 3):
        toy_training(tmp_path / str(every), recording_log, logging_steps=every, num_train_epochs=2)
        curves[every] = {step: values["loss"] for step, values in recording_log.metrics}
        recording_log.metrics.clear()
    each = curves[1]
    assert list(curves[3]) == [1, 3, 6, 8]
    assert curves[3][3] == pytest.approx((each[2] + each[3]) / 2)
    assert curves[3][8] == pytest.approx((each[7] + each[8]) / 2)
