"""Trainings as the flow makes them: a reference pass where the method needs one, then the rest."""

from __future__ import annotations

from pathlib import Path

from tasks.settings.log import Log
from tasks.storage.workspace import Workspace
from tasks.training.config import PolicyConfig
from tasks.training.methods.registry import get_group_method
from tasks.training.updates.policy import train_policy
from tasks.training.updates.reference_logps import compute_logps


def reference_of(
    path: Path, reference: Path, data: Path, config: PolicyConfig, log: Log, digest: str = "start"
) -> Path:
    """Return the folder of log-probabilities under a reference, computed once per path."""
    workspace = Workspace(path)
    if not (workspace.output / "index.json").exists():
        compute_logps(reference, [data], config.reference_pass(), workspace, log, digest=digest)
    return workspace.output


def update(
    path: Path,
    policy: Path,
    data: Path,
    config: PolicyConfig,
    log: Log,
    *,
    seed: int = 0,
    reference: Path | None = None,
    earlier: tuple[Path, ...] = (),
) -> dict[str, float]:
    """Train a policy in a workspace; the reference is the policy itself unless another is given."""
    logps = None
    if get_group_method(config.method).needs_reference:
        digest = "other" if reference else "start"
        beside = path.with_name(f"{path.name}-reference")
        logps = reference_of(beside, reference or policy, data, config, log, digest)
    workspace = Workspace(path)
    workspace.adopt_parts(earlier)
    return train_policy(policy, logps, [data], config, workspace, log, seed, digest="start")
