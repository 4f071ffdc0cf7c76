"""What stands beside a language model is trained, saved and resumed with it: a TQR's heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tasks.models.tqr.config import TqrConfig
from tasks.models.tqr.group_tqr import GroupTqr
from tasks.models.tqr.heads import TqrHeads
from tasks.objectives.ava import AvaTerms, ava_d
from tasks.training.config import TrainingConfig
from tasks.training.optimiser import build_optimiser, set_rate
from tasks.training.task import MicroBatch
from tests.tasks.training.toy import VOCABULARY, StopAt, ToyTask, digest_of, toy_model, toy_training

SETTINGS = {"num_train_epochs": 2, "save_every": 3, "head_learning_rate": 3e-2}


class AvaTask(ToyTask):
    """AVA-d of random responses, means over all positions of a step."""

    def counts(self, rows: Mapping[str, Sequence[int]]) -> dict[str, int]:
        sizes = [
            len(ids)
            for name, found in rows.items()
            for row in found
            for ids in self.groups[name][row].responses_ids
        ]
        return {"actions": sum(sizes), "irl": sum(size - 1 for size in sizes)}

    def loss(
        self, model: nn.Module, batch: MicroBatch, counts: dict[str, int]
    ) -> tuple[Tensor, dict[str, float]]:
        terms = AvaTerms(*(part.flatten(0, 1) for part in model(batch.groups).terms))
        return ava_d(*terms, gamma=0.9, lam=0.5, counts=counts), {}


def tqr(**config: bool) -> GroupTqr:
    found = GroupTqr(toy_model().model, TqrHeads(TqrConfig(**config), 16, VOCABULARY))
    found.check(range(1, VOCABULARY))
    assert found.shared, found.reason
    return found


def fail() -> None:
    raise RuntimeError("pulled the plug")


def train(path: Path, step: int | None = None, earlier: tuple[Path, ...] = ()) -> tuple:
    model = tqr()
    log = StopAt(step, fail) if step else None
    metrics, weights = toy_training(path, log, earlier, model=model, task=AvaTask(), **SETTINGS)
    return metrics, digest_of(weights), digest_of(model.heads.state_dict())


def test_heads_are_trained_and_resume_to_the_same_bytes(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole")
    assert whole[2] != digest_of(tqr().heads.state_dict())
    for step in (1, 4, 7):
        first = tmp_path / f"stopped-{step}"
        with pytest.raises(RuntimeError, match="plug"):
            train(first, step)
        assert train(tmp_path / f"resumed-{step}", earlier=(first,)) == whole


def test_means_over_tokens_do_not_depend_on_the_cut_into_passes(
    tmp_path: Path, recording_log: Any
) -> None:
    curves = []
    for tokens in (1000, 25):
        given = {**SETTINGS, "micro_batch_tokens": tokens}
        folder = tmp_path / str(tokens)
        toy_training(folder, recording_log, model=tqr(), task=AvaTask(), **given)
        curves.append([values["loss"] for _, values in recording_log.metrics])
        recording_log.metrics.clear()
    assert curves[1] == pytest.approx(curves[0], rel=1e-4)


def test_all_heads_learn_at_a_rate_of_their_own() -> None:
    model = tqr(ptq=False)
    optimiser = build_optimiser(model, TrainingConfig(learning_rate=1e-5, head_learning_rate=1e-3))
    set_rate(optimiser, 5e-6)
    groups = optimiser.param_groups
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert all(rates[id(p)] == pytest.approx(5e-4) for p in model.heads.parameters())
    assert {rates[id(p)] for p in model.model.parameters()} == {5e-6}


def test_every_weight_of_a_policy_and_its_heads_gets_a_gradient() -> None:
    model, task = tqr(), AvaTask()
    with torch.no_grad():
        model.heads.load_state_dict(model.heads.drawn_anew().state_dict())
    counts = task.counts({"many": [0, 1, 2]})
    task.loss(model, task.micro_batch("many", [0, 1, 2]), counts)[0].backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]
    assert all(p.grad.any() for p in model.heads.parameters())
