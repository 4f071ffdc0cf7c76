"""The branches of a sweep one by one, so that one of them can be left out."""

from __future__ import annotations

from flows.configs.base import FlowConfig
from flows.configs.exo import ExoConfig
from flows.configs.exo_sweep import Branch, SweepConfig


def without_branch(config: FlowConfig, label: str) -> FlowConfig | None:
    """Return a sweep's configuration without the branch that a stage's label names.

    None where there is no such branch, or no other one.
    """
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
