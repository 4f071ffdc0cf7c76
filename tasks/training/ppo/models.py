"""The models of a PPO training, loaded and made ready: actor, critic, reference, scorer."""

from __future__ import annotations

from pathlib import Path

from tasks.models.critic import GroupCritic, load_critic
from tasks.models.groups.group_model import GroupPolicy
from tasks.models.policy import load_policy
from tasks.models.prompt_sharing_check import ordinary_tokens
from tasks.models.scoring.scorers import Scorer, open_scorer
from tasks.settings.errors import ConfigError
from tasks.settings.log import Log
from tasks.training.data.selection import Encoder
from tasks.training.ppo.actor_critic import ActorCritic
from tasks.training.ppo.config import PpoConfig
from tasks.training.trainable import make_ready


def load_models(
    policy: Path,
    scorer: Path,
    reference: Path,
    encoder: Encoder,
    config: PpoConfig,
    log: Log,
) -> tuple[ActorCritic, GroupPolicy, Scorer]:
    """Load everything that a training needs, on the training's device; `train_by_ppo` says what.

    Returns:
        Actor and critic with their optimisers; the frozen reference; what scores.

    Raises:
        ConfigError: One of them cannot be loaded, or the policy has an encoder.
    """
    judge = open_scorer(scorer, config.scoring, log)
    settings = config.optimiser(config.actor_learning_rate)
    model = load_policy(policy, dtype="float32")
    if model.config.is_encoder_decoder:
        raise ConfigError(
            f"{policy} has an encoder for the prompt, which PPO's critic has no place for: take a "
            "decoder such as Llama, Qwen2 or GPT-2"
        )
    actor = GroupPolicy(model, temperature=config.temperature)
    limits = config.limits
    tokens = limits.longest
    start, scores = load_critic(policy, scorer, encoder.tokenizer, tokens)
    log.note(
        f"the critic starts from {'the reward model' if scores else 'the policy, with value 0'}"
    )
    critic = GroupCritic(start)
    frozen = GroupPolicy(load_policy(reference, dtype="float32"), temperature=config.temperature)
    frozen.requires_grad_(False)
    text = ordinary_tokens(encoder.tokenizer)
    for each in (actor, critic, frozen):
        make_ready(each, settings, text, log)
    return ActorCritic(actor, critic, config), frozen, judge
