"""The models of a PPO training, loaded and made ready: actor, critic, reference, scorer."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor
from transformers import PreTrainedModel

from tasks.models.critic import GroupCritic, load_critic
from tasks.models.groups.group_model import Batch, GroupPolicy
from tasks.models.policy import load_policy
from tasks.models.prompt_sharing_check import ordinary_tokens
from tasks.models.scoring.scorers import Scorer, open_scorer
from tasks.models.source_checks import require_decoder
from tasks.settings.log import Log
from tasks.training.data.selection import Encoder
from tasks.training.ppo.config import PpoConfig
from tasks.training.trainable import Trainable, make_ready


class TokenPolicy(GroupPolicy):
    """A policy whose numbers are those of tokens: called as a module, as sharing ranks need it."""

    def forward(self, batch: Batch) -> Tensor:
        """Return the log-probability of each response token, response after response. (S,)."""
        return self.token_logps(batch)


class PpoModels(NamedTuple):
    """What one process of a PPO training loads."""

    actor: TokenPolicy
    """The policy that is trained."""
    trained: Trainable
    """The same, as it is saved."""
    critic: GroupCritic
    """What is expected before each token."""
    reference: TokenPolicy | None
    """What the KL is taken to; None: the actor with its adapters switched off."""
    scorer: Scorer
    """What scores."""


def load_models(
    policy: Path,
    scorer: Path,
    reference: Path,
    encoder: Encoder,
    config: PpoConfig,
    log: Log,
    seed: int,
) -> PpoModels:
    """Load everything that a training needs, on the training's device; `train_by_ppo` says what.

    Raises:
        ConfigError: One of them cannot be loaded, or the policy has an encoder.
    """
    settings = config.optimiser(config.actor_learning_rate)
    text = ordinary_tokens(encoder.tokenizer)
    judge = open_scorer(scorer, config.scoring, log)
    frozen = None
    if config.lora is None or reference.resolve() != policy.resolve():
        model = load_policy(reference, dtype="float32").requires_grad_(False)
        frozen = TokenPolicy(model, temperature=config.temperature)
        frozen_settings = settings.model_copy(update={"gradient_checkpointing": False})
        make_ready(frozen, frozen_settings, text, log)

    def load(context: AbstractContextManager[Any]) -> PreTrainedModel:
        return load_policy(policy, context, dtype="float32")

    trained = Trainable(load, settings, seed)
    model = trained.load(log)
    require_decoder(model.config.is_encoder_decoder, str(policy))
    actor = TokenPolicy(model, temperature=config.temperature)
    critic = GroupCritic(_load_critic(policy, scorer, encoder, config, log, seed))
    for each in (actor, critic):
        make_ready(each, settings, text, log)
    return PpoModels(actor, trained, critic, frozen, judge)


def _load_critic(
    policy: Path, scorer: Path, encoder: Encoder, config: PpoConfig, log: Log, seed: int
) -> PreTrainedModel:
    tokens = config.limits.max_prompt_tokens + config.limits.max_response_tokens
    scores = False

    def load(context: AbstractContextManager[Any]) -> PreTrainedModel:
        nonlocal scores
        model, scores = load_critic(policy, scorer, encoder.tokenizer, tokens, context)
        return model

    model = Trainable(load, config.optimiser(config.critic_learning_rate), seed).load(log)
    log.note(
        f"the critic starts from {'the reward model' if scores else 'the policy, with value 0'}"
    )
    return model
