"""Stage calls that are written down instead of made: artifacts that no stage left."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from tasks.stages.artifact import Artifact
from tasks.stages.call import StageCall
from tasks.storage.digests import sha256_json


@dataclass(frozen=True)
class Made(Artifact):
    """What a stage would have left: its digest says which call made it."""

    def part(self, name: str) -> Made:
        """Return a part with a digest of its own."""
        return replace(self, digest=f"{self.digest}/{name}")

    @property
    def metrics(self) -> dict[str, float]:
        """Return some metrics of an evaluation and of a training."""
        return {"steps": 10.0, "kl": 1.0, "score/RM": 0.5, "score/oracle": 0.5, "score/reward": 0.5}


def made(name: str) -> Made:
    """Return an artifact that was there before."""
    return Made(name, Path(name), "update_policy", name)


def result_of(call: StageCall) -> Made:
    """Return what a call would have left; equal calls leave equal digests."""
    inputs = {role: artifact.digest for role, artifact in call.inputs.items()}
    told = {"stage": call.spec.name, "config": call.config, "seed": call.seed, "inputs": inputs}
    return replace(made(sha256_json(told)[:16]), stage=call.spec.name, label=call.label)


def titles(calls: list[StageCall]) -> list[str]:
    """Return what the calls are named on a run's page."""
    return [call.title for call in calls]
