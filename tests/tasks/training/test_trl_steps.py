"""Two steps of a small model by our engine and by TRL's DPOTrainer, on the same tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from tasks.data.batches import BatchPlan
from tasks.data.files import write_groups
from tasks.models.tokens.tokenizer import load_tokenizer
from tasks.training.config import PolicyConfig, TrainingConfig
from tasks.training.data.encoded import EncodedFolder
from tasks.training.updates.reference_logps import SET
from tests.tasks.training.conftest import make_groups
from tests.tasks.training.small_updates import update

TRAINING = TrainingConfig(
    learning_rate=1e-3, batch_size=4, micro_batch_tokens=1000, logging_steps=1, precision="fp32"
)
LIMITS = {"max_prompt_tokens": 40, "max_response_tokens": 40}
# Our method and coefficients, TRL's loss type and its label smoothing.
SIDES = [
    ("dpo", {"beta": 0.3}, "sigmoid", 0.0),
    ("exo_pref", {"beta_pi": 0.3, "epsilon": 0.01}, "exo_pair", 0.01),
]


@pytest.fixture(scope="module")
def other_policy(tiny_policy, tmp_path_factory) -> Path:
    """The tiny policy moved away, so that log-ratios are not 0 in the first step."""
    folder = tmp_path_factory.mktemp("other") / "policy"
    model = AutoModelForCausalLM.from_pretrained(tiny_policy)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    for file in tiny_policy.iterdir():
        if not (folder / file.name).exists():
            (folder / file.name).write_bytes(file.read_bytes())
    return folder


@pytest.mark.parametrize(("method", "coefficients", "loss_type", "smoothing"), SIDES)
def test_steps_agree_with_trl(
    method,
    coefficients,
    loss_type,
    smoothing,
    tiny_policy,
    other_policy,
    tmp_path,
    recording_log,
):
    """Loss and gradient norm of both steps, and the weights after them."""
    write_groups(tmp_path / "pairs", make_groups(8, 2, seed=5, pairs=True))
    config = PolicyConfig(
        method=method, coefficients={method: coefficients}, limits=LIMITS, training=TRAINING
    )
    path = tmp_path / "ours"
    update(path, other_policy, tmp_path / "pairs", config, recording_log, reference=tiny_policy)
    ours = [values for step, values in recording_log.metrics if step]
    rows = _in_our_order(EncodedFolder(path / "parts" / SET))
    theirs, model = _trl_steps(rows, other_policy, tiny_policy, loss_type, smoothing, tmp_path)
    assert len(ours) == len(theirs) == 2
    for step, expected in zip(ours, theirs, strict=True):
        # TRL's log rounds to six digits.
        assert step["loss"] == pytest.approx(expected["loss"], rel=1e-4)
        assert step["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-4)
        for name in ("rewards/chosen", "rewards/margins", "rewards/accuracies"):
            assert step[name] == pytest.approx(expected[name], rel=1e-3, abs=1e-5)
    saved = AutoModelForCausalLM.from_pretrained(path / "output")
    for mine, other in zip(saved.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-5)


def _in_our_order(groups: EncodedFolder) -> list[dict[str, list[int]]]:
    """What TRL calls a row, for each pair, as our plan takes them."""
    plan = BatchPlan({SET: len(groups)}, TRAINING.batch_size, epochs=1, seed=0)
    steps = len(groups) // TRAINING.batch_size
    rows = [row for step in range(steps) for row in plan.at(step)[SET]]
    encoded = [groups.encoded(row) for row in rows]
    return [
        {
            "prompt_ids": group.prompt_ids,
            "chosen_ids": group.responses_ids[0],
            "rejected_ids": group.responses_ids[1],
        }
        for group in encoded
    ]


def _trl_steps(rows, policy: Path, reference: Path, loss_type: str, smoothing: float, path: Path):
    """TRL's log of each step, and the model it trained."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    class Trainer(DPOTrainer):
        def _prepare_dataset(self, dataset, *rest):
            return dataset  # tokens already

    arguments = DPOConfig(
        output_dir=str(path / "theirs"),
        loss_type=[loss_type],
        label_smoothing=smoothing,
        beta=0.3,
        per_device_train_batch_size=TRAINING.batch_size,
        max_steps=len(rows) // TRAINING.batch_size,
        learning_rate=TRAINING.learning_rate,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=TRAINING.max_grad_norm,
        optim="adamw_torch",
        bf16=False,
        use_cpu=True,
        train_sampling_strategy="sequential",
        max_length=None,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    trainer = Trainer(
        model=AutoModelForCausalLM.from_pretrained(policy),
        ref_model=AutoModelForCausalLM.from_pretrained(reference),
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=load_tokenizer(policy),
    )
    trainer.train()
    return [entry for entry in trainer.state.log_history if "grad_norm" in entry], trainer.model
