"""The loop: gradients add up, bad numbers stop it, what was planned is what was seen."""

from __future__ import annotations

import pytest
import torch

from tasks.data.batches import BatchPlan
from tasks.data.files import GroupFolder
from tasks.models.encoding import Limits
from tasks.models.policy import load_policy
from tasks.models.reward_model import build_reward_model
from tasks.settings.errors import StageError
from tasks.storage.workspace import Workspace
from tasks.training import loop
from tasks.training.config import TrainingConfig
from tasks.training.loop import train
from tasks.training.methods.registry import METHODS
from tasks.training.optimiser import build_optimiser, learning_rate
from tasks.training.policy_updates import PolicyTask
from tasks.training.reward_objectives import REWARD_OBJECTIVES
from tasks.training.reward_updates import RewardTask
from tasks.training.samples import Encoder

LIMITS = Limits(max_prompt_tokens=40, max_response_tokens=40)
DATA = {"rjs": "scored", "rrhf": "scored", "dpo": "scored", "sft": "demonstrations"}


def policy_task(method: str, policy, folders, size: int) -> PolicyTask:
    """A policy task whose reference log-probabilities are made up."""
    chosen = METHODS[method]
    groups = [g for group in GroupFolder(folders[DATA[method]]) for g in chosen.select(group)]
    reference = torch.linspace(-40, -20, 3 * len(groups)).reshape(-1, 3)
    encoder = Encoder.of(policy, None, LIMITS)
    return PolicyTask(groups, encoder, chosen, chosen.coefficients(), 0.8, size, reference)


def reward_task(name: str, policy, folders, size: int) -> tuple[RewardTask, Encoder]:
    encoder = Encoder.of(policy, None, LIMITS)
    sets = {"preferences": GroupFolder(folders["pairs"])}
    if REWARD_OBJECTIVES[name].game:
        sets["apo"] = GroupFolder(folders["gold"])
    return RewardTask(sets, encoder, REWARD_OBJECTIVES[name], 10.0, size), encoder


def step_of(model, task, indices) -> tuple[float, dict[str, float], torch.Tensor]:
    """Loss, metrics and gradient of one optimiser step."""
    counts = {name: len(rows) for name, rows in indices.items()}
    model.zero_grad()
    total, sums = 0.0, {}
    for batch in task.micro_batches(indices):
        loss, metrics = task.loss(model, batch, counts)
        loss.backward()
        total += loss.item()
        for name, value in metrics.items():
            sums[name] = sums.get(name, 0.0) + value
    return total, sums, torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize("method", DATA)
@pytest.mark.parametrize("size", [1, 3])
def test_policy_micro_batches_add_up(method, size, tiny_policy, data_folders):
    """In float64, so that only a wrong denominator could make a difference."""
    model = load_policy(tiny_policy, dtype="float64")
    indices = {"selected": [5, 0, 3, 7, 2, 1, 6]}
    whole = step_of(model, policy_task(method, tiny_policy, data_folders, 100), indices)
    split = step_of(model, policy_task(method, tiny_policy, data_folders, size), indices)
    assert split[0] == pytest.approx(whole[0], rel=1e-9)
    assert split[1] == pytest.approx(whole[1], rel=1e-6)
    assert torch.allclose(split[2], whole[2], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", REWARD_OBJECTIVES)
@pytest.mark.parametrize("size", [1, 3])
def test_reward_micro_batches_add_up(name, size, tiny_policy, data_folders):
    whole_task, encoder = reward_task(name, tiny_policy, data_folders, 100)
    split_task, _ = reward_task(name, tiny_policy, data_folders, size)
    model = build_reward_model(tiny_policy, encoder.tokenizer, 0, dtype="float64")
    indices = {"preferences": [0, 9, 4, 3, 1], "apo": [2, 0, 1, 4]}
    indices = {set_name: indices[set_name] for set_name in whole_task.sets}
    whole, split = step_of(model, whole_task, indices), step_of(model, split_task, indices)
    assert split[0] == pytest.approx(whole[0], rel=1e-9)
    assert split[1] == pytest.approx(whole[1], rel=1e-6)
    assert torch.allclose(split[2], whole[2], rtol=1e-6, atol=1e-9)


def test_a_dpo_step_agrees_with_trl(tiny_policy, data_folders):
    """TRL's sigmoid loss on log-probabilities summed here response by response, without padding."""
    model = load_policy(tiny_policy)
    task = policy_task("dpo", tiny_policy, data_folders, 4)
    rows = [0, 1, 2, 3]

    def logp(group, k) -> torch.Tensor:
        encoded = task.encoder.encode(group)
        ids = torch.tensor([encoded.prompt_ids + encoded.responses_ids[k]])
        start = len(encoded.prompt_ids)
        tokens = (model(ids).logits / 0.8).log_softmax(-1)[0, start - 1 : -1]
        return tokens.gather(-1, ids[0, start:, None]).sum()

    chosen = torch.stack([logp(task.groups[row], 0) for row in rows])
    rejected = torch.stack([logp(task.groups[row], 1) for row in rows])
    # trl/trainer/dpo_trainer.py, loss_type "sigmoid", beta 0.1, no smoothing.
    chosen_ratio = chosen - task.reference[rows, 0]
    rejected_ratio = rejected - task.reference[rows, 1]
    delta = chosen_ratio - rejected_ratio
    expected = -torch.nn.functional.logsigmoid(0.1 * delta).mean()
    gradient = torch.autograd.grad(expected, list(model.parameters()))
    loss, metrics, ours = step_of(model, task, {"selected": rows})
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    assert metrics["rewards/chosen"] == pytest.approx(0.1 * chosen_ratio.mean().item(), rel=1e-4)
    assert metrics["rewards/margins"] == pytest.approx(0.1 * delta.mean().item(), rel=1e-4)
    assert metrics["rewards/accuracies"] == (delta > 0).float().mean().item()
    theirs = torch.cat([g.flatten() for g in gradient])
    assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


def test_the_sets_of_a_reward_step_are_weighed_by_set(tiny_policy, data_folders):
    """Value of a mixed step = APO term alone + beta_2 x preference term alone, for any mix."""
    task, encoder = reward_task("apo_rm", tiny_policy, data_folders, 2)
    model = build_reward_model(tiny_policy, encoder.tokenizer, 0, dtype="float64")
    apo, pairs = [0, 3], [1, 2, 4, 5, 6, 7]
    mixed, metrics, _ = step_of(model, task, {"apo": apo, "preferences": pairs})
    alone = step_of(model, task, {"apo": apo, "preferences": []})[0]
    plain, _ = reward_task("bradley_terry", tiny_policy, data_folders, 2)
    ranking = step_of(model, plain, {"preferences": pairs})[0]
    assert mixed == pytest.approx(alone + 10 * ranking, rel=1e-9)
    assert metrics["loss/apo"] + metrics["loss/preferences"] == pytest.approx(mixed)
    assert 0 <= metrics["accuracy"] <= 1 and 0 <= metrics["apo/accuracy"] <= 1


class Spoiled:
    """A task that goes wrong on the third optimiser step."""

    def __init__(self, task: PolicyTask, spoil) -> None:
        self.task, self.spoil, self.calls = task, spoil, 0

    def micro_batches(self, indices):
        self.calls += 1
        return self.task.micro_batches(indices)

    def loss(self, model, batch, counts):
        loss, metrics = self.task.loss(model, batch, counts)
        return (self.spoil(model, loss) if self.calls == 3 else loss), metrics


@pytest.mark.parametrize(
    ("what", "spoil"),
    [
        ("loss nan", lambda model, loss: loss * float("nan")),
        ("loss inf", lambda model, loss: loss + float("inf")),
        # The value is finite, its gradient 0 x infinity is not.
        ("gradient norm nan", lambda model, loss: loss + (0 * model.lm_head.weight).sqrt().sum()),
    ],
)
def test_a_bad_number_stops_at_its_step(
    what, spoil, tiny_policy, data_folders, tmp_path, recording_log
):
    task = policy_task("sft", tiny_policy, data_folders, 2)
    model = load_policy(tiny_policy)
    config = TrainingConfig(learning_rate=1e-3, batch_size=2, save_every=2, logging_steps=1)
    plan = BatchPlan({"selected": len(task.groups)}, 2, 1, seed=0)
    workspace = Workspace(tmp_path)
    with pytest.raises(StageError, match=f"step 3 of 5 has the {what} on the samples") as caught:
        train(
            model,
            plan=plan,
            task=Spoiled(task, spoil),
            config=config,
            workspace=workspace,
            log=recording_log,
            seed=0,
        )
    rows = plan.at(2)["selected"]
    assert f"selected[{rows[0]}] {task.groups[rows[0]].id}" in str(caught.value)
    assert [step for step, _ in recording_log.metrics] == [1, 2]
    assert workspace.part_names() == ["step-00000001", "step-00000002"]
    kept = torch.cat([p.flatten() for p in model.parameters()])
    assert kept.isfinite().all()


def test_samples_lost_on_the_way_are_an_error(
    tiny_policy, data_folders, tmp_path, recording_log, monkeypatch
):
    task = policy_task("sft", tiny_policy, data_folders, 2)
    real = task.micro_batches
    monkeypatch.setattr(task, "micro_batches", lambda indices: list(real(indices))[:1])
    with pytest.raises(StageError, match="saw 4 samples and 9 were planned"):
        train(
            load_policy(tiny_policy),
            plan=BatchPlan({"selected": 9}, 5, 1, seed=0),
            task=task,
            config=TrainingConfig(batch_size=5, logging_steps=1),
            workspace=Workspace(tmp_path),
            log=recording_log,
            seed=0,
        )


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_dropout_is_what_the_config_says(dropout, tiny_policy):
    model = load_policy(tiny_policy, dropout=True)
    loop._set_dropout(model, dropout)
    model.train()
    ids = torch.arange(10)[None]
    torch.manual_seed(0)
    first = model(ids).logits
    assert torch.equal(first, model(ids).logits) == (dropout == 0)


def test_learning_rates_by_hand():
    """Warm-up of 2 to 1.0, then a cosine over 4 steps: 1, cos² of 22.5°, 45°, 67.5°."""
    config = TrainingConfig(learning_rate=1.0, warmup_steps=2, lr_scheduler="cosine")
    found = [learning_rate(config, step, 6) for step in range(6)]
    assert found == pytest.approx([0.5, 1.0, 1.0, 0.853553, 0.5, 0.146447], abs=1e-6)


def test_weight_decay_spares_vectors(tiny_policy):
    optimiser = build_optimiser(load_policy(tiny_policy), TrainingConfig(weight_decay=0.1))
    for group in optimiser.param_groups:
        matrices = {parameter.ndim >= 2 for parameter in group["params"]}
        assert matrices == {group["weight_decay"] == 0.1}


def test_a_point_of_the_curves_is_the_mean_of_its_steps(
    tiny_policy, data_folders, tmp_path, recording_log
):
    """Of 5 steps with a point every 2: step 1; step 2 alone; the mean of 3 and 4; step 5 alone."""
    curves = {}
    for every in (1, 2):
        task = policy_task("sft", tiny_policy, data_folders, 2)
        train(
            load_policy(tiny_policy),
            plan=BatchPlan({"selected": len(task.groups)}, 2, 1, seed=0),
            task=task,
            config=TrainingConfig(learning_rate=1e-3, batch_size=2, logging_steps=every),
            workspace=Workspace(tmp_path / str(every)),
            log=recording_log,
            seed=0,
        )
        curves[every] = {step: values["loss"] for step, values in recording_log.metrics}
        recording_log.metrics.clear()
    each = curves[1]
    assert list(curves[2]) == [1, 2, 4, 5]
    assert curves[2][4] == pytest.approx((each[3] + each[4]) / 2)
    assert curves[2][5] == each[5]
