"""TRL trains on what was exported, and takes an exported reward model as its reward."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import load_dataset
from trl import (
    DPOConfig,
    DPOTrainer,
    GRPOConfig,
    GRPOTrainer,
    RewardConfig,
    RewardTrainer,
    SFTConfig,
    SFTTrainer,
)

from tasks.data.groups import Group, Message
from tasks.models.padded_batches import collate
from tasks.models.reward_model import load_reward_model, rewards
from tasks.models.tokens.encoding import Limits, encode_group
from tasks.models.tokens.tokenizer import load_tokenizer
from tests.tasks.stages.export.conftest import Export

ONE_STEP: dict[str, Any] = {
    "max_steps": 1,
    "per_device_train_batch_size": 4,
    "learning_rate": 1e-2,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": [],
    "disable_tqdm": True,
    "use_cpu": True,
    "bf16": False,
}


@pytest.fixture(scope="module")
def exported(export: Export, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every kind of export, data as messages."""
    folder = tmp_path_factory.mktemp("exported")
    for name in ("policy", "reward_model"):
        export(name, folder / name)
    for name in ("data", "against_gold", "scored"):
        export(name, folder / name, messages=True)
    return folder


def changed(trainer: Any) -> dict[str, float]:
    """Train a step and return what TRL logged of it; the weights are others afterwards."""
    before = [one.detach().clone() for one in trainer.model.parameters()]
    trainer.train()
    after = list(trainer.model.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    (step,) = [entry for entry in trainer.state.log_history if "grad_norm" in entry]
    return step


def scored_by_us(model: Path, groups: list[Group]) -> list[float]:
    """Our own scores of the groups' responses."""
    tokenizer = load_tokenizer(model)
    limits = Limits(max_prompt_tokens=64, max_response_tokens=32)
    encoded = [encode_group(tokenizer, None, group, limits) for group in groups]
    batch = collate(encoded, tokenizer.pad_token_id)
    with torch.no_grad():
        return rewards(load_reward_model(model), batch)[batch.mask].tolist()


@pytest.mark.parametrize(("data", "split"), [("data", "rm_train"), ("against_gold", "train")])
def test_dpo(data: str, split: str, exported: Path, tmp_path: Path) -> None:
    rows = load_dataset(str(exported / data), "preference", split=split)
    arguments = DPOConfig(str(tmp_path), loss_type=["sigmoid"], **ONE_STEP)
    policy = str(exported / "policy")
    step = changed(DPOTrainer(policy, args=arguments, train_dataset=rows))
    assert step["loss"] == pytest.approx(0.693, abs=1e-3)  # the policy is its own reference


def test_best_and_worst_of_scored_answers(exported: Path, tmp_path: Path) -> None:
    """As the how-to page makes pairs of K scored answers."""
    scored = load_dataset(str(exported / "scored"), split="train")
    rows = scored.map(best_and_worst, remove_columns=scored.column_names)
    assert rows[0]["chosen"] == [{"role": "assistant", "content": "yes"}]
    arguments = DPOConfig(str(tmp_path), **ONE_STEP)
    changed(DPOTrainer(str(exported / "policy"), args=arguments, train_dataset=rows))


def best_and_worst(row: dict[str, Any]) -> dict[str, Any]:
    ranked = sorted(zip(row["scores"], row["completions"], strict=True), key=lambda one: one[0])
    return {"prompt": row["prompt"], "chosen": ranked[-1][1], "rejected": ranked[0][1]}


def test_a_reward_model_goes_on(exported: Path, tmp_path: Path) -> None:
    """Its loss in TRL is Bradley and Terry's of the scores that we give the same pairs."""
    rows = load_dataset(str(exported / "data"), "preference", split="rm_train").select(range(4))
    model = exported / "reward_model"
    groups = [
        Group((Message("user", row["prompt"][0]["content"]),), (chosen, rejected))
        for row in rows
        for chosen, rejected in [(row["chosen"][0]["content"], row["rejected"][0]["content"])]
    ]
    scores = torch.tensor(scored_by_us(model, groups)).view(-1, 2)
    expected = -torch.nn.functional.logsigmoid(scores[:, 0] - scores[:, 1]).mean()
    arguments = RewardConfig(str(tmp_path), **ONE_STEP)
    step = changed(RewardTrainer(str(model), args=arguments, train_dataset=rows))
    assert step["loss"] == pytest.approx(expected.item(), abs=1e-4)


def test_a_reward_model_is_trls_reward(exported: Path, tmp_path: Path) -> None:
    """GRPO scores answers by it, as we do, and trains a step on them."""
    rows = load_dataset(str(exported / "data"), "prompt", split="rm_queries")
    model, seen = exported / "reward_model", {}

    class Trainer(GRPOTrainer):
        def _calculate_rewards(
            self, inputs: Any, prompts: Any, completions: Any, *rest: Any
        ) -> Any:
            given = super()._calculate_rewards(inputs, prompts, completions, *rest)
            seen.update(prompts=prompts, completions=completions, rewards=given)
            return given

    arguments = GRPOConfig(
        str(tmp_path), num_generations=4, max_completion_length=6, beta=0.0, **ONE_STEP
    )
    trainer = Trainer(str(exported / "policy"), [str(model)], arguments, train_dataset=rows)
    changed(trainer)
    groups = [
        Group((Message("user", prompt[0]["content"]),), (completion[0]["content"],))
        for prompt, completion in zip(seen["prompts"], seen["completions"], strict=True)
    ]
    theirs = seen["rewards"][:, 0].tolist()
    assert theirs == pytest.approx(scored_by_us(model, groups), abs=1e-4)


def test_sft(export: Export, exported: Path, tmp_path: Path) -> None:
    """Plain texts too."""
    export("data", tmp_path / "plain")
    pairs = load_dataset(str(tmp_path / "plain"), "preference", split="rm_train")
    rows = pairs.remove_columns("rejected").rename_column("chosen", "completion")
    arguments = SFTConfig(str(tmp_path / "out"), **ONE_STEP)
    changed(SFTTrainer(str(exported / "policy"), args=arguments, train_dataset=rows))
