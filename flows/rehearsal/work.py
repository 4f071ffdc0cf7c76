"""What each stage of the real run needs: memory of a process, arithmetic, time and room on disk."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from flows.configs.recurring import ModelSource
from flows.rehearsal.amounts import Amounts
from flows.rehearsal.machines import Machine
from tasks.models.architecture import architecture_of
from tasks.models.base_policy import PolicyModelConfig
from tasks.models.sample_shards import RolloutConfig
from tasks.models.sampling.config import SamplingConfig
from tasks.models.sizes.footprint import FP32, Footprint, frozen, sampled
from tasks.models.sizes.shape import ModelShape, read_shape, shape_of
from tasks.stages.artifact import EXTERNAL, Artifact
from tasks.stages.call import StageCall
from tasks.stages.runs.context import StageRecord
from tasks.training.config import TrainingConfig
from tasks.training.memory_needs import ppo_memory, training_memory
from tasks.training.ppo.config import PpoConfig
from tasks.training.tqr_config import TqrUpdateConfig

_ONLY_COMPUTE = {
    # Stage: the input that is the model it computes with.
    "compute_reference_logps": "reference",
    "score_responses": "reward_model",
    "label_preferences": "oracle",
    "evaluate_reward_model": "reward_model",
    "diagnose_rewards": "reward_model",
    "evaluate_policy": "policy",
    "estimate_density_ratios": "start",
}
_BATCH_TOKENS = 8192
"""Tokens of a forward pass where a stage's configuration names none."""
_DONE = ("completed", "cached")
_FORWARD, _TRAINING = 2, 6
"""Operations per number of a matrix and token: one pass, and one with its backward pass."""


@dataclass(frozen=True)
class Need:
    """What one stage of the real run takes."""

    title: str
    """The stage."""
    where: str
    """`gpu` or `cpu`: what it wants to run on."""
    models: Mapping[str, Footprint]
    """Bytes of one of its processes, by model."""
    processes: int = 1
    """How many of them there are."""
    seconds: float = 0.0
    """How long its arithmetic takes."""
    stored: float = 0.0
    """Bytes that stay on the disk."""
    working: float = 0.0
    """Bytes of checkpoints while it works."""
    overhead: float = 0.0
    """Seconds beside its arithmetic: what the small stage took, which has next to none."""

    @property
    def memory(self) -> float:
        """Bytes of one process, all of its models together."""
        return sum(one.total for one in self.models.values())


class Shapes:
    """The shape of every model that a run loads or makes, followed back to where it comes from."""

    def __init__(self, calls: Sequence[StageCall], stands_for: Mapping[str, ModelSource]) -> None:
        """Take the run's calls, and the models that small ones stand for by their folders."""
        self._calls = {call.title: call for call in calls}
        self._stands_for = stands_for
        self._known: dict[object, ModelShape] = {}

    def of(self, artifact: Artifact | None) -> ModelShape | None:
        """Return the shape of a model; None of what is none, such as an oracle."""
        if artifact is None:
            return None
        if artifact.stage == EXTERNAL:
            return self._named(str(artifact.path))
        call = self._calls.get(artifact.label)
        return self.of_output(call) if call is not None else None

    def of_output(self, call: StageCall) -> ModelShape | None:
        """Return the shape of the model that a stage makes; None where it makes none.

        The heads of a TQR are counted with it, as they are read with it.
        """
        if call.spec.name == "initialise_policy":
            return self._initial(call.arguments["config"])
        for role in ("policy", "base"):
            if call.spec.produces and role in call.inputs:
                shape = self.of(call.inputs[role])
                heads = _heads(call.arguments["config"], shape) if shape else 0
                return shape and replace(shape, parameters=shape.parameters + heads)
        return None

    def _initial(self, config: PolicyModelConfig) -> ModelShape | None:
        if config.architecture is None:
            return self._named(str(config.path or config.hub))
        if config not in self._known:
            built = architecture_of(config.architecture, config.vocabulary)
            self._known[config] = shape_of(built)
        return self._known[config]

    def _named(self, folder: str) -> ModelShape | None:
        model = self._stands_for.get(folder)
        if model is None:
            return None
        named = (model.source, model.revision)
        if named not in self._known:
            self._known[named] = read_shape(*named)
        return self._known[named]


class Work:
    """Turns the stage calls of the real run into what they need on one kind of machine."""

    def __init__(
        self,
        calls: Sequence[StageCall],
        shapes: Shapes,
        amounts: Amounts,
        records: Sequence[StageRecord],
        machine: Machine,
    ) -> None:
        """Take what is known of the real run and of the small one, and what computes."""
        self._calls, self._shapes, self._amounts = calls, shapes, amounts
        self._small = {record.title: record.metrics for record in records}
        self._took = {one.title: one.seconds for one in records if one.state in _DONE}
        self._stage_took: dict[str, list[float]] = {}
        for one in records:
            if one.state == "completed":
                self._stage_took.setdefault(one.stage, []).append(one.seconds)
        self._machine = machine

    def needs(self) -> Iterator[Need]:
        """Yield what each stage needs, in their order."""
        for call in self._calls:
            yield replace(self._need(call), overhead=self._overhead(call))

    def _overhead(self, call: StageCall) -> float:
        """Return what a call took in the rehearsal; of one that was not in it, what others did."""
        took = self._took.get(call.title)
        return fmean(self._stage_took.get(call.spec.name, [0.0])) if took is None else took

    def _need(self, call: StageCall) -> Need:
        config = call.arguments.get("config")
        if isinstance(config, PpoConfig):
            return self._ppo(call, config)
        if isinstance(training := getattr(config, "training", None), TrainingConfig):
            return self._training(call, training)
        if isinstance(config, RolloutConfig) and config.sampling.engine == "own":
            return self._rollout(call, config)
        if call.spec.name in _ONLY_COMPUTE:
            return self._forward(call, config)
        shape = self._shapes.of_output(call) if call.spec.name == "initialise_policy" else None
        size = FP32 * shape.parameters if shape else 0
        return Need(call.title, call.spec.resources, {}, stored=size)

    def _bf16(self, precision: str) -> bool:
        return self._machine.bf16 if precision == "auto" else precision == "bf16"

    def _training(self, call: StageCall, config: TrainingConfig) -> Need:
        shape = self._shapes.of(call.inputs.get("policy") or call.inputs.get("base"))
        if shape is None:
            return Need(call.title, call.spec.resources, {})
        heads = _heads(call.arguments["config"], shape)
        memory = training_memory(shape, config, bf16=self._machine.bf16, beside=heads)
        groups = self._amounts.made_by(call) * config.num_train_epochs
        if config.max_steps is not None:
            groups = min(groups, config.max_steps * config.batch_size)
        small = self._small.get(call.title, {})
        each = small.get("tokens", 0.0) / max(small.get("samples_seen", 1.0), 1.0)
        again = 4 / 3 if config.gradient_checkpointing else 1.0
        operations = _TRAINING * again * (shape.matrices + shape.head) * groups * each
        whole, moments = FP32 * (shape.parameters + heads), memory.optimiser * config.world_size
        return Need(
            call.title,
            call.spec.resources,
            {"model": memory},
            config.world_size,
            operations / self._machine.flops / config.world_size,
            stored=whole * config.snapshots,
            working=(whole + moments) * config.keep_checkpoints,
        )

    def _rollout(self, call: StageCall, config: RolloutConfig) -> Need:
        shape = self._shapes.of(call.inputs["policy"])
        if shape is None:
            return Need(call.title, call.spec.resources, {})
        draws, bf16 = config.sampling, self._bf16(config.sampling.precision)
        prompts = math.ceil(self._amounts.made_by(call))
        longest = config.limits.max_prompt_tokens
        memory = sampled(shape, draws, longest, bf16=bf16, prompts=min(prompts, draws.shard_size))
        seconds = self._sampling_seconds(shape, draws, prompts, longest, bf16=bf16)
        return Need(call.title, call.spec.resources, {"policy": memory}, seconds=seconds)

    def _sampling_seconds(
        self, shape: ModelShape, draws: SamplingConfig, prompts: int, longest: int, *, bf16: bool
    ) -> float:
        """Every step reads all weights once for a batch, and its keys and values."""
        each = longest + draws.samples * draws.max_new_tokens
        batches = math.ceil(prompts * each / draws.batch_tokens)
        one = sampled(shape, draws, longest, bf16=bf16, prompts=prompts)
        read = batches * draws.max_new_tokens * (one.weights + one.cache / 2)
        operations = _FORWARD * (shape.matrices + shape.head) * prompts * each
        return read / self._machine.bandwidth + operations / self._machine.flops

    def _forward(self, call: StageCall, config: Any) -> Need:
        scoring = getattr(config, "scoring", config)
        shape = self._shapes.of(call.inputs.get(_ONLY_COMPUTE[call.spec.name]))
        if shape is None:
            return Need(call.title, call.spec.resources, {})
        tokens = getattr(scoring, "batch_tokens", _BATCH_TOKENS)
        bf16 = self._bf16(getattr(scoring, "precision", "auto"))
        memory = frozen(shape, tokens=tokens, bf16=bf16)
        limits = getattr(scoring, "limits", None) or config.limits
        each = limits.max_prompt_tokens + limits.max_response_tokens * self._responses(call)
        operations = _FORWARD * shape.matrices * self._amounts.made_by(call) * each
        return Need(
            call.title,
            call.spec.resources,
            {"model": memory},
            seconds=operations / self._machine.flops,
        )

    def _responses(self, call: StageCall) -> int:
        """Return how many responses a group has that a stage reads."""
        for artifact in call.inputs.values():
            made = next((one for one in self._calls if one.title == artifact.label), None)
            config = made.arguments.get("config") if made else None
            if isinstance(config, RolloutConfig):
                return config.sampling.samples
        return 2

    def _ppo(self, call: StageCall, config: PpoConfig) -> Need:
        shape = self._shapes.of(call.inputs["policy"])
        if shape is None:
            return Need(call.title, call.spec.resources, {})
        scorer = self._shapes.of(call.inputs["reward_model"])
        models = ppo_memory(shape, scorer, config, bf16=self._machine.bf16)
        draws, longest = config.sampling(), config.limits.max_prompt_tokens
        tokens = config.prompts_per_step * (longest + config.samples * draws.max_new_tokens)
        passes = 3 * _FORWARD + (_FORWARD if scorer else 0) + 2 * _TRAINING * config.ppo_epochs
        step = passes * (shape.matrices + shape.head) * tokens / self._machine.flops
        step += self._sampling_seconds(shape, draws, config.prompts_per_step, longest, bf16=False)
        trained = [models["actor"], models["critic"]]
        return Need(
            call.title,
            call.spec.resources,
            models,
            seconds=config.total_steps * step,
            stored=FP32 * shape.parameters * config.snapshots,
            working=sum(one.weights + one.optimiser for one in trained) * config.keep_checkpoints,
        )


def _heads(config: Any, shape: ModelShape) -> int:
    """Return how many numbers a training makes beside the model; 0 but of a TQR."""
    return (
        config.model.numbers(shape.width, shape.head) if isinstance(config, TqrUpdateConfig) else 0
    )
