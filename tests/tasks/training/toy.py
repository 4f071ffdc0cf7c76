"""A training small enough for many runs: a one-layer GPT-2 on made-up groups, no tokenizer."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tasks.data.batches import BatchPlan
from tasks.models.groups.group_model import GroupModel, GroupPolicy, GroupReward
from tasks.models.groups.packing import group_tokens, pack
from tasks.models.tokens.encoding import EncodedGroup
from tasks.settings.log import Log, NullLog
from tasks.storage.workspace import Workspace
from tasks.training.config import TrainingConfig
from tasks.training.distributed.opening import whole_weights
from tasks.training.loop import train
from tasks.training.task import MicroBatch, TrainingTask

VOCABULARY = 50
COUNTS = {"many": 9, "few": 2}
SETTINGS = {
    "learning_rate": 1e-2, "batch_size": 3, "micro_batch_tokens": 40,
    "save_every": 2, "logging_steps": 1, "precision": "fp32", "weight_decay": 0.1,
}  # fmt: skip


class ToyTask(TrainingTask):
    """Raises the log-probability of random responses, each set with a weight of its own."""

    def __init__(self) -> None:
        chance = random.Random(0)

        def ids(most: int) -> list[int]:
            return chance.choices(range(VOCABULARY), k=chance.randint(1, most))

        self.groups = {
            name: [
                EncodedGroup(ids(9), [ids(6) for _ in range(size)], False, [False] * size)
                for size in (chance.randint(1, 3) for _ in range(count))
            ]
            for name, count in COUNTS.items()
        }

    def sizes(self, name: str) -> Sequence[int]:
        return [group_tokens(group) for group in self.groups[name]]

    def micro_batch(self, name: str, rows: Sequence[int]) -> MicroBatch:
        ids = tuple(f"{name}-{row}" for row in rows)
        tokens = sum(self.sizes(name)[row] for row in rows)
        batch = pack([self.groups[name][row] for row in rows])
        return MicroBatch(name, tuple(rows), ids, batch, tokens=tokens)

    def loss(
        self, model: nn.Module, batch: MicroBatch, counts: dict[str, int]
    ) -> tuple[Tensor, dict[str, float]]:
        logps = model(batch.groups).sum(dim=1)
        # Drawn, so that a lost random state would show.
        weight = torch.rand(()).item() + (2 if batch.data_set == "few" else 1)
        value = -weight * logps.sum() / counts[batch.data_set]
        return value, {f"{batch.data_set}/logp": logps.sum().item() / counts[batch.data_set]}


def toy_model(seed: int = 0, *, scores: bool = False) -> GroupModel:
    """A GPT-2 with tied embeddings, or with a score head; every rank makes the same one."""
    from transformers import GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=VOCABULARY, n_embd=16, n_layer=1, n_head=2, n_positions=32,
        bos_token_id=0, eos_token_id=0, pad_token_id=0, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0,
        num_labels=1,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ready((GPT2ForSequenceClassification if scores else GPT2LMHeadModel)(config))


def ready(model: nn.Module) -> GroupModel:
    """Wrap a model as a training does."""
    found = GroupReward(model) if hasattr(model, "score") else GroupPolicy(model)
    with whole_weights(found):
        found.check(range(1, VOCABULARY))
    assert found.shared, found.reason
    return found


def toy_training(
    path: Path,
    log: Log | None = None,
    earlier: Sequence[Path] = (),
    model: GroupModel | None = None,
    task: ToyTask | None = None,
    adopt: bool = True,
    **settings,
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Train in a workspace; return the metrics and, on the main process, the weights."""
    config = TrainingConfig(**(SETTINGS | settings))
    workspace = Workspace(path)
    if adopt:
        workspace.adopt_parts(earlier)
    model = model or toy_model()
    weights: dict[str, Tensor] = {}

    def save(state: dict[str, Tensor] | None, folder: Path) -> None:
        weights.clear()
        weights.update(model.model.state_dict() if state is None else state)
        tensors = {name: value.contiguous().clone() for name, value in weights.items()}
        save_file(tensors, folder / "model.safetensors")

    metrics = train(
        model,
        plan=BatchPlan(COUNTS, config.batch_size, config.num_train_epochs, seed=5),
        task=task or ToyTask(),
        config=config,
        workspace=workspace,
        log=log or NullLog(),
        seed=7,
        save=save,
    )
    return metrics, weights


def digest_of(weights: dict[str, Tensor]) -> str:
    """One hash of all weights, by name."""
    found = hashlib.sha256()
    for name in sorted(weights):
        found.update(name.encode())
        found.update(weights[name].detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


class StopAt(NullLog):
    """A log that does something when it hears of one step."""

    def __init__(self, step: int, act: Callable[[], None]) -> None:
        self.step, self.act = step, act

    def __call__(self, metrics: dict[str, float], step: int | None = None) -> None:
        if step == self.step:
            self.act()
