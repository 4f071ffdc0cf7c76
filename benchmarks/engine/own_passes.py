"""Our passes without gradients as sides: the reference pass and scoring."""

from __future__ import annotations

from pathlib import Path

from benchmarks.engine.setting import TEMPLATE, Setting, encoded, texts
from benchmarks.engine.worker import Block, Turns
from tasks.models.groups.packing import group_tokens


def reference(turns: Turns, setting: Setting, folder: Path, *, precision: str, groups: int) -> None:
    """Compute the log-probabilities of pairs under the reference, as its stage does."""
    from tasks.models.groups.flops import best_matmul_rate, multiply_adds
    from tasks.models.groups.group_model import GroupPolicy
    from tasks.models.groups.packing import pack
    from tasks.models.memory import kept_memory
    from tasks.models.policy import load_policy
    from tasks.models.precision import arithmetic_of
    from tasks.models.scoring.group_scores import response_values
    from tasks.training.config import ReferenceConfig
    from tasks.training.distributed.hardware import training_device

    found = encoded(folder, setting.limits, 2, groups)
    device = training_device()
    model = GroupPolicy(load_policy(folder / "reference", dtype="float32")).eval().to(device)
    model.check()
    done = None
    with kept_memory(), arithmetic_of(precision):
        while True:
            turns.next(done)
            budget = ReferenceConfig(method="dpo").batch_tokens
            values = response_values(model, found, 0, budget)
            done = Block(
                units=len(found),
                losses=dict(enumerate(value for row in values for value in row)),
                operations=2.0 * multiply_adds(model.model, pack(found)),
                notes={"matmul": best_matmul_rate(device)},
            )
            done.needed = sum(map(group_tokens, found))
            # Rows of whole groups, each token once; on the plain path it is not counted.
            done.computed = done.needed if model.shared else 0


def score(turns: Turns, setting: Setting, folder: Path, *, precision: str, groups: int) -> None:
    """Score four responses to each prompt by `score_groups`, tokenising included."""
    from tasks.models.reward_model import load_reward_model
    from tasks.models.scoring.group_scores import score_groups
    from tasks.models.tokens.tokenizer import load_tokenizer
    from tasks.training.distributed.hardware import training_device

    found = texts(folder, 4, groups)
    tokenizer = load_tokenizer(folder / "reward")
    model = load_reward_model(folder / "reward", dtype="float32").to(training_device())
    done = None
    while True:
        turns.next(done)
        values = score_groups(
            model, tokenizer, TEMPLATE, found, setting.limits, precision=precision
        )
        flat = [value for row in values for value in row]
        done = Block(units=len(found), losses=dict(enumerate(flat)))
