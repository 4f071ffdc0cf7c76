"""What a user may set about PPO. Imports no torch, so that a plan can read it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tasks.models.sampling.config import SamplingConfig
from tasks.models.scoring.config import ScoringConfig
from tasks.models.tokens.encoding import Limits
from tasks.settings.base import NOT_IN_KEY, FrozenConfig
from tasks.training.config import TrainingConfig
from tasks.training.scale import TrainingScale


class AdaptiveKl(FrozenConfig):
    """A KL coefficient that follows the measured KL: the controller of arXiv 1909.08593."""

    target: float = Field(default=6.0, gt=0)
    """KL to the reference that is aimed at, nats per response. Default 6: 1909.08593 and TRL."""

    horizon: float = Field(default=10_000.0, gt=0)
    """Responses over which the coefficient can change by a factor of about 1.2. Default: TRL."""


class PpoConfig(TrainingScale):
    """How a policy is reinforced: one PPO step draws responses and learns from them.

    Each process holds, of actor and critic, what `deepspeed` leaves it; a reference of its own,
    unless the reference is the start and adapters are trained: then it is the actor with them
    switched off; and what scores. Linear layers that are not trained are held in bf16 where it is
    computed in. The prompts of a step are shared out.
    """

    template: str | None = None
    """Chat template by name (plain, hh, alpaca, tldr). None: the tokenizer's own."""

    limits: Limits = Limits()
    """Longest prompt, and the most tokens that are drawn as a response, EOS included."""

    temperature: float = Field(default=1.0, gt=0)
    """Logits are divided by it for the draws and the log-probabilities, of policy and reference
    alike. EXO: 0.8."""

    stop: tuple[str, ...] = ()
    """Strings that end a response, beside those of the chat template; they are cut off."""

    sampling_tokens: int = Field(default=65_536, ge=1)
    """Tokens whose keys and values a batch of the sampler holds at most. Speed only."""

    scoring: ScoringConfig = ScoringConfig()
    """How the reward model reads the responses: its own limits, template and precision."""

    total_steps: int = Field(default=200, ge=1)
    """PPO steps, those of the critic's warm-up included. Tuned on dev by EXO's authors."""

    prompts_per_step: int = Field(default=64, ge=1)
    """Prompts that are answered in one step. The prompts are gone through in a new order each
    time. Default 64: EXO's batch."""

    samples: int = Field(default=1, ge=1)
    """Responses that are drawn per prompt."""

    ppo_epochs: int = Field(default=4, ge=1)
    """Passes over a step's responses. Default 4: TRL (DeepSpeed-Chat, EXO's base, has 1)."""

    minibatches: int = Field(default=1, ge=1)
    """Parts of a step's responses with an optimiser step each, in each pass. Default: TRL."""

    actor_learning_rate: float = Field(default=1e-6, gt=0)
    """Learning rate of the policy's AdamW. Default 1e-6: EXO's other methods."""

    critic_learning_rate: float = Field(default=5e-6, gt=0)
    """Learning rate of the critic's AdamW. Default 5e-6: DeepSpeed-Chat."""

    critic_warmup_steps: int = Field(default=0, ge=0)
    """First steps, in which only the critic learns and the actor is frozen (EXO, appendix C)."""

    lr_scheduler: Literal["constant", "linear", "cosine"] = "constant"
    """The learning rates: held, or brought down to 0 at the end of the plan."""

    clip: float = Field(default=0.2, gt=0)
    """How far the ratio to the old policy may leave 1 before it counts no more. Default: 1707.06347
    (PPO)."""

    value_clip: float = Field(default=0.2, gt=0)
    """How far a value may leave the old one before it counts no more, reward units. Default: TRL
    and DeepSpeed-Chat."""

    gamma: float = Field(default=1.0, gt=0, le=1)
    """Discount per token. Default 1: EXO and TRL."""

    lam: float = Field(default=0.95, ge=0, le=1)
    """Lambda of the generalised advantages. Default: DeepSpeed-Chat and TRL."""

    kl_coef: float = Field(default=0.1, ge=0)
    """Weight of the KL to the reference, reward units per nat; where it starts if it adapts.
    Default 0.1: EXO."""

    adaptive_kl: AdaptiveKl | None = None
    """Let the coefficient follow the measured KL. Default: it is held."""

    whiten_advantages: bool = True
    """Whether a step's advantages are brought to mean 0 and variance 1. Default: TRL."""

    whiten_rewards: bool = False
    """Whether a step's rewards are brought to variance 1, their mean left. Default: TRL."""

    missing_eos_penalty: float = Field(default=0.0, ge=0)
    """Taken from the score of a response that the length limit cut off, reward units."""

    max_grad_norm: float = Field(default=1.0, ge=0)
    """L2 norm that each of the two gradients is scaled down to; 0 leaves them as they are."""

    micro_batch_tokens: int = Field(default=8192, ge=2)
    """Tokens of one forward pass, each prompt once. Memory and speed only."""

    save_every: Annotated[int, NOT_IN_KEY] = Field(default=50, ge=1)
    """PPO steps between checkpoints; step 1 is always saved, as a rehearsal."""

    keep_checkpoints: Annotated[int, NOT_IN_KEY] = Field(default=2, ge=1)
    """Newest checkpoints kept while training. They are not part of the artifact."""

    logging_steps: Annotated[int, NOT_IN_KEY] = Field(default=1, ge=1)
    """PPO steps whose mean makes one point of the curves; step 1 is always one."""

    snapshots: int = Field(default=1, ge=1)
    """States of the policy, at even distances, that are kept as models of their own, the last one
    included."""

    @model_validator(mode="after")
    def _parts_of_a_step(self) -> PpoConfig:
        if self.minibatches > self.prompts_per_step:
            raise ValueError(
                f"minibatches is {self.minibatches} and prompts_per_step {self.prompts_per_step}: "
                "each minibatch needs a prompt"
            )
        if self.world_size > self.prompts_per_step:
            raise ValueError(
                f"{self.world_size} processes share the {self.prompts_per_step} prompts_per_step: "
                "each needs one"
            )
        if self.critic_warmup_steps >= self.total_steps:
            raise ValueError(
                f"critic_warmup_steps is {self.critic_warmup_steps} of {self.total_steps} "
                "total_steps: the policy would never learn"
            )
        responses = self.prompts_per_step * self.samples
        if self.adaptive_kl is not None and responses > self.adaptive_kl.horizon:
            raise ValueError(
                f"adaptive_kl.horizon is {self.adaptive_kl.horizon:g} responses, fewer than the "
                f"{responses} of one step: raise it"
            )
        return self

    def sampling(self) -> SamplingConfig:
        """Return how responses are drawn: from the tempered policy itself, nothing cut off."""
        return SamplingConfig(
            samples=self.samples,
            temperature=self.temperature,
            max_new_tokens=self.limits.max_response_tokens,
            stop=self.stop,
            batch_tokens=self.sampling_tokens,
            precision=self.precision,
        )

    def optimiser(self, learning_rate: float) -> TrainingConfig:
        """Return the settings of one of the two optimisers, given its peak learning rate."""
        return TrainingConfig(
            learning_rate=learning_rate,
            lr_scheduler=self.lr_scheduler,
            max_grad_norm=self.max_grad_norm,
            **{name: getattr(self, name) for name in TrainingScale.model_fields},
        )
