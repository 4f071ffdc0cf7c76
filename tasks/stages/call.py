"""One call of a stage: its arguments sorted into inputs, config, seed, plain values; its key."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel

from tasks.settings.base import key_settings
from tasks.settings.parts import gpus_in
from tasks.stages.artifact import Artifact
from tasks.stages.key import stage_key, stage_title

Body = Callable[..., dict[str, float] | None]
"""What a stage does; writes into `workspace.output` and returns metrics."""

_INJECTED = frozenset({"workspace", "log"})
_RESERVED = frozenset({"config", "seed", "label"})
MODEL_STAGES: dict[str, str] = {}
"""What the stages that make a model produce, by the name of those this process has loaded."""


@dataclass(frozen=True)
class StageSpec:
    """A function that is a stage."""

    name: str
    """The function's name."""
    version: int
    """Raised by hand whenever the body changes meaning."""
    resources: Literal["cpu", "gpu", "people"]
    """What the stage wants to run on; one that asks people is never placed elsewhere."""
    body: Body
    """The function."""
    produces: Literal["policy", "reward_model"] | None = None
    """Kind of model that comes out; None for anything else."""

    @cached_property
    def signature(self) -> inspect.Signature:
        """The body's parameters."""
        return inspect.signature(self.body)

    @cached_property
    def input_names(self) -> frozenset[str]:
        """Names of the parameters that are annotated as artifacts."""
        parameters = self.signature.parameters.values()
        return frozenset(item.name for item in parameters if "Artifact" in str(item.annotation))

    @cached_property
    def injected(self) -> frozenset[str]:
        """Those of `workspace` and `log` that the body takes."""
        return _INJECTED & self.signature.parameters.keys()

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any], label: str = "") -> StageCall:
        """Sort the arguments of a call.

        Raises:
            TypeError: For a missing, unknown or unsuitable argument, naming it.
        """
        given = dict.fromkeys(self.injected)
        try:
            bound = self.signature.bind(*args, **{**kwargs, **given})
        except TypeError as error:
            raise TypeError(f"stage {self.name}: {error}") from error
        bound.apply_defaults()
        values = {name: item for name, item in bound.arguments.items() if name not in _INJECTED}
        inputs = {
            role: artifact
            for name in values
            if name in self.input_names
            for role, artifact in _roles(self.name, name, values[name])
        }
        return StageCall(self, values, inputs, label)


@dataclass(frozen=True)
class StageCall:
    """A stage and the arguments it was called with."""

    spec: StageSpec
    """The stage."""
    arguments: Mapping[str, Any]
    """The arguments of the body, apart from workspace and log."""
    inputs: Mapping[str, Artifact]
    """The input artifacts by role; a list's items are called `role.0`, `role.1` …"""
    label: str
    """A name of this call for people; not in the key."""

    @property
    def title(self) -> str:
        """A name of this call for people."""
        return stage_title(self.spec.name, self.label)

    @property
    def gpus(self) -> int:
        """How many GPUs it uses at once on the machine where it runs, if that has any."""
        if self.spec.resources != "gpu":
            return 0
        return max((count for _, count in gpus_in(self.arguments.get("config"))), default=1)

    @property
    def is_pending(self) -> bool:
        """Whether an input is only planned, so that there is no key yet."""
        return any(artifact.is_pending for artifact in self.inputs.values())

    @cached_property
    def config(self) -> Any:
        """The whole config as plain values, or None."""
        config = self.arguments.get("config")
        return config.model_dump(mode="json") if isinstance(config, BaseModel) else config

    @cached_property
    def key_config(self) -> Any:
        """The config without what cannot change the result."""
        return key_settings(self.arguments.get("config"))

    @property
    def seed(self) -> int | None:
        """Seed of the stage's random choices; None where it makes none."""
        seed = self.arguments.get("seed")
        if seed is not None and type(seed) is not int:
            raise TypeError(f"stage {self.spec.name}: seed must be an integer, got {seed!r}")
        return seed

    @property
    def plain(self) -> dict[str, Any]:
        """The arguments that are neither inputs, nor config, nor seed."""
        known = self.spec.input_names | _RESERVED
        return {name: value for name, value in self.arguments.items() if name not in known}

    @cached_property
    def key(self) -> str:
        """SHA-256 of everything the result may depend on; raises TypeError as `stage_key`."""
        return stage_key(
            self.spec.name,
            self.spec.version,
            config=self.key_config,
            inputs={role: artifact.digest for role, artifact in self.inputs.items()},
            seed=self.seed,
            arguments=self.plain,
        )


def _roles(stage: str, name: str, value: Any) -> Iterator[tuple[str, Artifact]]:
    """Name the artifacts in one argument."""
    if value is None:
        return
    if isinstance(value, Artifact):
        yield name, value
        return
    if isinstance(value, (list, tuple)):
        items: Mapping[str, Any] = {str(index): item for index, item in enumerate(value)}
    else:
        items = value if isinstance(value, Mapping) else {"": value}
    for role, item in items.items():
        if not isinstance(item, Artifact):
            raise TypeError(
                f"stage {stage}: {name} must be an Artifact, or a list or dict of them, got a "
                f"{type(item).__name__}; wrap a path in external_artifact(…)"
            )
        yield f"{name}.{role}", item
