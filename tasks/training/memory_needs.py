"""What one process of a training holds in memory, from the training's settings and shapes."""

from __future__ import annotations

from tasks.models.sizes.footprint import Footprint, Part, frozen, sampled, trained
from tasks.models.sizes.shape import ModelShape
from tasks.settings.errors import ConfigError
from tasks.training.config import TrainingConfig
from tasks.training.ppo.config import PpoConfig
from tasks.training.scale import LoraConfig


def training_memory(
    shape: ModelShape, config: TrainingConfig, *, bf16: bool, beside: int = 0
) -> Footprint:
    """Return what one process of a training holds.

    Args:
        shape: Of the model that is trained.
        config: The training's settings.
        bf16: Whether `precision: auto` is bf16 on the machine where it trains.
        beside: Numbers that are trained beside the model: the heads of a TQR.

    Raises:
        ConfigError: `deepspeed` names no settings.
    """
    zero, offload = _zero(config)
    return trained(
        shape,
        tokens=config.micro_batch_tokens,
        bf16=_is_bf16(config.precision, auto=bf16),
        checkpointing=config.gradient_checkpointing,
        part=_trained_part(shape, config),
        beside=beside,
        processes=config.world_size,
        zero=zero,
        offload=offload,
    )


def ppo_memory(
    policy: ModelShape, scorer: ModelShape | None, config: PpoConfig, *, bf16: bool
) -> dict[str, Footprint]:
    """Return what PPO holds in one of its processes, by model.

    With adapters there is no reference: it is taken to be the start, as in each first training.

    Args:
        policy: Shape of the policy, of its reference and, where nothing scores that could be one,
            of the critic.
        scorer: Shape of the reward model, which the critic starts from if it reads the policy's
            tokens, as those of other vocabularies do not; None for an oracle.
        config: PPO's settings.
        bf16: Whether `precision: auto` is bf16 on the machine where it trains.
    """
    tokens, limits = config.micro_batch_tokens, config.limits
    settings = config.optimiser(config.actor_learning_rate)
    settings = settings.model_copy(update={"micro_batch_tokens": tokens})
    critic = scorer if scorer and scorer.vocabulary == policy.vocabulary else policy
    found = {
        # Sampled by the weights that are trained, in fp32 as they are.
        "actor": training_memory(policy, settings, bf16=bf16)
        + sampled(
            policy,
            config.sampling(),
            limits.max_prompt_tokens,
            bf16=False,
            prompts=-(-config.prompts_per_step // config.world_size),
            weights=False,
        ),
        "critic": training_memory(critic, settings, bf16=bf16),
    }
    if settings.lora is None:
        own = _is_bf16(config.precision, auto=bf16)
        found["reference"] = frozen(policy, tokens=tokens, bf16=own)
    if scorer is not None:
        scoring = config.scoring
        theirs = _is_bf16(scoring.precision, auto=bf16)
        found["scorer"] = frozen(scorer, tokens=scoring.batch_tokens, bf16=theirs)
    return found


def _is_bf16(precision: str, *, auto: bool) -> bool:
    return auto if precision == "auto" else precision == "bf16"


def _zero(config: TrainingConfig) -> tuple[int, bool]:
    """Return DeepSpeed's stage, and whether it keeps its share in the machine's memory."""
    if config.deepspeed is None:
        return 0, False
    from tasks.training.distributed.deepspeed_engine import deepspeed_settings

    settings = deepspeed_settings(config)["zero_optimization"]
    return settings["stage"], "offload_optimizer" in settings


def _trained_part(shape: ModelShape, config: TrainingConfig) -> Part | None:
    """Return what is trained; None is all."""
    if config.lora is not None:
        # The model's own matrices are all frozen; gradients go through every layer.
        return Part(_adapter_numbers(shape, config.lora), shape.matrices, shape.layers)
    if config.trainable_layers is None:
        return None
    if config.trainable_layers > shape.layers:
        raise ConfigError(
            f"training.trainable_layers is {config.trainable_layers} and the model has "
            f"{shape.layers} layers: give fewer"
        )
    head = 0 if shape.tied else shape.head
    matrices = config.trainable_layers * shape.block
    return Part(matrices + head, shape.matrices - matrices, config.trainable_layers)


def _adapter_numbers(shape: ModelShape, lora: LoraConfig) -> int:
    """Return how many numbers the adapters of a model hold."""
    wanted = lora.target_modules
    found = [
        lora.rank * (inputs + outputs)
        for name, inputs, outputs in shape.linears
        if wanted == "all-linear" or name.rpartition(".")[2] in wanted or name.endswith(wanted)
    ]
    if not found:
        raise ConfigError(f"training.lora.target_modules is {wanted}: no linear layer ends so")
    return sum(found)
