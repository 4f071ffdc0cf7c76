"""Step 3 of the flow `ava`: every arm's model, from one start."""

from __future__ import annotations

from typing import NamedTuple

from flows.configs.ava import AvaConfig
from flows.configs.branches.ava_cells import Cell
from flows.placement.local_workers import LocalWorkers
from flows.steps.ava.inputs import AvaInputs, imitation
from tasks.compute_reference_logps import compute_reference_logps
from tasks.stages.artifact import Artifact
from tasks.training.config import PolicyConfig, ReferenceConfig
from tasks.training.methods.coefficients import GroupCoefficients
from tasks.training.tqr_config import TqrUpdateConfig
from tasks.update_policy import update_policy
from tasks.update_tqr import update_tqr


class _Pass(NamedTuple):
    """One pass of the start over pairs that several arms of DPO learn from."""

    data: str
    config: ReferenceConfig


class ArmTrainer:
    """Trains the model of one arm after the other."""

    def __init__(self, config: AvaConfig, inputs: AvaInputs, workers: LocalWorkers) -> None:
        """Make what arms share: what the start gives the responses that DPO compares."""
        self._config, self._inputs = config, inputs
        passes = dict.fromkeys(map(self._pass, self._of_dpo()))
        self._logps = dict(zip(passes, workers.map(passes, self._reference_logps), strict=True))

    def train(self, cell: Cell) -> Artifact:
        """Train a reward model, or the policy itself."""
        config, learnt = self._config, self._inputs.learnt[cell.data]
        label = f"{cell.title} s{cell.seed}"
        if cell.objective in ("dpo", "sft"):
            is_dpo = cell.objective == "dpo"
            return update_policy(
                self._inputs.start,
                [learnt],
                self._logps[self._pass(cell)] if is_dpo else None,
                config=self._dpo(cell) if is_dpo else imitation(config, cell),
                seed=cell.seed,
                label=label,
            )
        is_policy = cell.pipeline == "direct"
        return update_tqr(
            self._inputs.start if is_policy else self._inputs.reward_start,
            [learnt],
            config=TqrUpdateConfig(
                objective=cell.objective,
                tqr=cell.tqr(config.tqr),
                ava=cell.weights(config.ava),
                training=config.training_of(cell),
                limits=config.limits if is_policy else config.reward.limits,
                template=config.model.template if is_policy else config.reward.template,
            ),
            seed=cell.seed,
            label=label,
        )

    def _of_dpo(self) -> list[Cell]:
        return [cell for cell in self._config.cells() if cell.objective == "dpo"]

    def _dpo(self, cell: Cell) -> PolicyConfig:
        config = self._config
        return PolicyConfig(
            method="dpo",
            coefficients=GroupCoefficients(**{"dpo": config.dpo}),
            training=config.training_of(cell),
            limits=config.limits,
            template=config.model.template,
        )

    def _pass(self, cell: Cell) -> _Pass:
        return _Pass(cell.data, self._dpo(cell).reference_pass())

    def _reference_logps(self, one: _Pass) -> Artifact:
        return compute_reference_logps(
            self._inputs.start,
            [self._inputs.learnt[one.data]],
            config=one.config,
            label=f"start, {one.data}",
        )
