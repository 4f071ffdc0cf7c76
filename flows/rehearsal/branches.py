"""The branches of a sweep, or the arms of `ava`, one by one, so that one can be left out."""

from __future__ import annotations

from flows.configs.ava import AvaConfig
from flows.configs.base import FlowConfig
from flows.configs.branches.ava_cells import ArmConfig
from flows.configs.branches.exo_sweep import Branch, SweepConfig
from flows.configs.exo import ExoConfig


def without_branch(config: FlowConfig, label: str) -> FlowConfig | None:
    """Return a configuration without the branch, or the arm, that a stage's label names.

    None where there is no such one, or no other one.
    """
    if isinstance(config, AvaConfig):
        return _without_arm(config, label)
    if not isinstance(config, ExoConfig):
        return None
    every = config.all_branches()

    def is_meant(branch: Branch) -> bool:
        return f"{label} ".startswith(f"{branch.label(config.temperature)} ")

    left = [one for one in every if not is_meant(one)]
    if len(left) == len(every):
        # A trial of a search belongs to all branches of its method: `ppo trial 1/2`.
        left = [one for one in every if label.split(" ")[0] != one.method]
    if not left or len(left) == len(every):
        return None
    return config.model_copy(update={"methods": (), "branches": [alone(one) for one in left]})


def alone(branch: Branch) -> SweepConfig:
    """Return a sweep of which this is the only branch."""
    values = {key: (value,) for key, value in branch.coefficients.items()}
    return SweepConfig(
        method=branch.method,
        temperatures=(branch.temperature,),
        seeds=(branch.seed,),
        training=branch.training,
        **values,
    )


def _without_arm(config: AvaConfig, label: str) -> AvaConfig | None:
    """Return a configuration of `ava` without the cells of a name, by whatever pipeline."""
    every = config.cells()
    left = [cell for cell in every if f"{cell.title} s{cell.seed}" not in label]
    if not left or len(left) == len(every):
        return None
    arms = [
        ArmConfig(
            **{name: getattr(cell, name) for name in ("objective", "data", "pipeline", "ablation")},
            seeds=(cell.seed,),
            training=config.training_of(cell),
        )
        for cell in left
    ]
    return config.model_copy(update={"arms": arms})
