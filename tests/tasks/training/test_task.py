"""A step's micro-batches add up to the step, and a step is what the objective says it is."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from tasks.data.files import read_groups
from tasks.models.groups.group_model import GroupModel, GroupPolicy, GroupReward
from tasks.models.policy import load_policy
from tasks.models.tokens.encoding import Limits
from tasks.storage.workspace import Workspace
from tasks.training.data.encoded import EncodedFolder
from tasks.training.data.gold_games import APO, gold_games
from tasks.training.data.selection import Encoder, Selection, keep_groups
from tasks.training.methods.registry import GROUP_METHODS
from tasks.training.methods.reward_objectives import REWARD_OBJECTIVES
from tasks.training.updates.policy import PolicyTask
from tasks.training.updates.reward_model import RewardTask
from tests.tasks.models.random_heads import random_reward_model

LIMITS = Limits(max_prompt_tokens=40, max_response_tokens=40)
DATA = {name: "demonstrations" if name == "sft" else "scored" for name in GROUP_METHODS}


def policy_task(method: str, policy: Path, data: Path, path: Path, dtype: str):
    """A policy task whose reference log-probabilities are made up, and its model."""
    encoder = Encoder.of(policy, None, LIMITS)
    chosen = GROUP_METHODS[method]
    groups, _ = keep_groups(Workspace(path), "selected", Selection([data], chosen), encoder)
    model = GroupPolicy(load_policy(policy, dtype=dtype), temperature=0.8)
    layout = partial(model.batch, pad_id=encoder.pad_id)
    reference = torch.linspace(-40, -20, groups.counts["responses"], dtype=torch.float64)
    return PolicyTask(groups, chosen, chosen.coefficients(), layout, reference), model


def reward_task(name: str, policy: Path, folders: dict[str, Path], path: Path):
    """A reward task in float64, and its model."""
    encoder = Encoder.of(policy, None, LIMITS)
    model = GroupReward(random_reward_model(policy, encoder.tokenizer, 0, dtype="float64"))
    names = {"preferences": "pairs"} | ({"apo": "gold"} if REWARD_OBJECTIVES[name].game else {})
    sets: dict[str, EncodedFolder] = {}
    for key, folder in names.items():
        groups = read_groups(folders[folder])
        if key == APO:
            groups = gold_games(folders[folder], split_samples=False)
        sets[key], _ = keep_groups(Workspace(path), key, groups, encoder)
    layout = partial(model.batch, pad_id=encoder.pad_id)
    return RewardTask(sets, REWARD_OBJECTIVES[name], 10.0, layout), model


def step_of(model: GroupModel, task, indices: dict[str, list[int]], size: int):
    """Loss, metrics and gradient of one optimiser step in pieces of so many groups."""
    counts = {name: len(rows) for name, rows in indices.items()}
    model.zero_grad()
    total, sums = 0.0, {}
    for name, rows in indices.items():
        for start in range(0, len(rows), size):
            batch = task.micro_batch(name, rows[start : start + size])
            loss, metrics = task.loss(model, batch, counts)
            loss.backward()
            total += loss.item()
            for metric, value in metrics.items():
                sums[metric] = sums.get(metric, 0.0) + value
    return total, sums, torch.cat([p.grad.flatten() for p in model.parameters()])


def assert_equal_steps(split, whole) -> None:
    assert split[0] == pytest.approx(whole[0], rel=1e-9)
    assert split[1] == pytest.approx(whole[1], rel=1e-6)
    assert torch.allclose(split[2], whole[2], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("method", DATA)
@pytest.mark.parametrize("size", [1, 3])
def test_policy_micro_batches_add_up(method, size, tiny_policy, data_folders, tmp_path):
    """In float64, so that only a wrong denominator could make a difference."""
    data = data_folders[DATA[method]]
    task, model = policy_task(method, tiny_policy, data, tmp_path, "float64")
    indices = {"selected": [5, 0, 3, 7, 2, 1, 6]}
    assert_equal_steps(step_of(model, task, indices, size), step_of(model, task, indices, 100))


@pytest.mark.parametrize("name", REWARD_OBJECTIVES)
@pytest.mark.parametrize("size", [1, 3])
def test_reward_micro_batches_add_up(name, size, tiny_policy, data_folders, tmp_path):
    task, model = reward_task(name, tiny_policy, data_folders, tmp_path)
    indices = {"preferences": [0, 9, 4, 3, 1], "apo": [2, 0, 1, 4]}
    indices = {key: indices[key] for key in task.sets}
    assert_equal_steps(step_of(model, task, indices, size), step_of(model, task, indices, 100))


def test_a_micro_batch_says_what_is_in_it(tiny_policy, data_folders, tmp_path):
    task, _ = policy_task("dpo", tiny_policy, data_folders["scored"], tmp_path, "float32")
    batch = task.micro_batch("selected", [4, 2])
    assert batch.indices == (4, 2) and batch.ids == (task.groups.name(4), task.groups.name(2))
    assert batch.tokens == batch.groups.tokens == sum(task.sizes("selected")[row] for row in (4, 2))
    assert torch.equal(batch.scores, task.groups.scores([4, 2]))
    assert batch.reference_logps.tolist() == task.reference[[8, 9, 4, 5]].reshape(2, 2).tolist()
    moved = batch.to("cpu")
    assert torch.equal(moved.groups.input_ids, batch.groups.input_ids)


def test_a_dpo_step_agrees_with_trl(tiny_policy, data_folders, tmp_path):
    """TRL's sigmoid loss on log-probabilities summed here response by response, without padding."""
    task, model = policy_task("dpo", tiny_policy, data_folders["scored"], tmp_path, "float64")
    rows = [0, 1, 2, 3]

    def logp(row: int, k: int) -> torch.Tensor:
        encoded = task.groups.encoded(row)
        ids = torch.tensor([encoded.prompt_ids + encoded.responses_ids[k]])
        start = len(encoded.prompt_ids)
        tokens = (model.model(ids).logits / 0.8).log_softmax(-1)[0, start - 1 : -1]
        return tokens.gather(-1, ids[0, start:, None]).sum()

    reference = task.groups.per_slot(task.reference, rows)
    # trl/trainer/dpo_trainer.py, loss_type "sigmoid", beta 0.1, no smoothing.
    chosen_ratio = torch.stack([logp(row, 0) for row in rows]) - reference[:, 0]
    rejected_ratio = torch.stack([logp(row, 1) for row in rows]) - reference[:, 1]
    delta = chosen_ratio - rejected_ratio
    expected = -torch.nn.functional.logsigmoid(0.1 * delta).mean()
    gradient = torch.autograd.grad(expected, list(model.parameters()))
    loss, metrics, ours = step_of(model, task, {"selected": rows}, 4)
    assert loss == pytest.approx(expected.item(), rel=1e-9)
    assert metrics["rewards/chosen"] == pytest.approx(0.1 * chosen_ratio.mean().item(), rel=1e-6)
    assert metrics["rewards/margins"] == pytest.approx(0.1 * delta.mean().item(), rel=1e-6)
    assert metrics["rewards/accuracies"] == (delta > 0).double().mean().item()
    theirs = torch.cat([g.flatten() for g in gradient])
    # Norms compute in float32 in every precision.
    assert (ours - theirs).norm() <= 1e-7 * theirs.norm()


def test_the_sets_of_a_reward_step_are_weighed_by_set(tiny_policy, data_folders, tmp_path):
    """Value of a mixed step = APO term alone + beta_2 x preference term alone, for any mix."""
    task, model = reward_task("apo_rm", tiny_policy, data_folders, tmp_path)
    apo, pairs = [0, 3], [1, 2, 4, 5, 6, 7]
    mixed, metrics, _ = step_of(model, task, {"apo": apo, "preferences": pairs}, 2)
    alone = step_of(model, task, {"apo": apo, "preferences": []}, 2)[0]
    plain, _ = reward_task("bradley_terry", tiny_policy, data_folders, tmp_path)
    ranking = step_of(model, plain, {"preferences": pairs}, 2)[0]
    assert mixed == pytest.approx(alone + 10 * ranking, rel=1e-9)
    assert metrics["loss/apo"] + metrics["loss/preferences"] == pytest.approx(mixed)
    assert 0 <= metrics["accuracy"] <= 1 and 0 <= metrics["apo/accuracy"] <= 1
