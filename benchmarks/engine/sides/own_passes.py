"""Our passes without gradients as sides: the reference pass and scoring."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from benchmarks.engine.setting import Setting, encoded, texts
from benchmarks.engine.worker import Block, Turns
from tasks.models.groups.flops import best_matmul_rate, multiply_adds
from tasks.models.groups.group_model import GroupPolicy
from tasks.models.groups.packing import group_tokens, pack
from tasks.models.memory import kept_memory
from tasks.models.policy import load_policy
from tasks.models.precision import arithmetic_of, compute_device
from tasks.models.prompt_sharing_check import ordinary_tokens
from tasks.models.reward_model import load_reward_model
from tasks.models.scoring.group_scores import response_values, score_groups
from tasks.models.tokens.encoding import EncodedGroup
from tasks.models.tokens.tokenizer import load_tokenizer
from tasks.training.config import ReferenceConfig


def reference(turns: Turns, setting: Setting, folder: Path, *, precision: str, groups: int) -> None:
    """Compute the log-probabilities of pairs under the reference, as its stage does."""
    found = encoded(folder, setting, 2, groups)
    model = reference_model(folder)
    model.check(ordinary_tokens(load_tokenizer(folder / "policy")))
    compute = reference_pass(model, ReferenceConfig(method="dpo", precision=precision))
    done = None
    with kept_memory():
        while True:
            turns.next(done)
            values = compute(found)
            needed = sum(map(group_tokens, found))
            done = Block(
                units=len(found),
                # Rows of whole groups, each token once; on the plain path it is not counted.
                computed=needed if model.shared else 0,
                needed=needed,
                losses=dict(enumerate(value for row in values for value in row)),
                operations=2.0 * multiply_adds(model.model, pack(found)),
                notes={"matmul": best_matmul_rate(compute_device())},
            )


def reference_model(folder: Path) -> GroupPolicy:
    """Return the setting's reference, ready for its pass."""
    model = GroupPolicy(load_policy(folder / "reference", dtype="float32")).eval()
    return model.to(compute_device())


def reference_pass(
    model: GroupPolicy, settings: ReferenceConfig, without: str = ""
) -> Callable[[list[EncodedGroup]], list[list[float]]]:
    """Return the pass of `compute_logps` over some groups, with its model loaded once."""
    kept = nullcontext if without == "kept_memory" else kept_memory

    def compute(groups: list[EncodedGroup]) -> list[list[float]]:
        with kept(), arithmetic_of(settings.precision):
            return response_values(model, groups, 0, settings.batch_tokens)

    return compute


def score(turns: Turns, setting: Setting, folder: Path, *, precision: str, groups: int) -> None:
    """Score four responses to each prompt by `score_groups`, tokenising included."""
    found = texts(folder, 4, groups)
    tokenizer = load_tokenizer(folder / "reward")
    model = load_reward_model(folder / "reward", dtype="float32").to(compute_device())
    done = None
    while True:
        turns.next(done)
        values = score_groups(
            model, tokenizer, setting.template, found, setting.limits, precision=precision
        )
        flat = [value for row in values for value in row]
        done = Block(units=len(found), losses=dict(enumerate(flat)))
