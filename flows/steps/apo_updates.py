"""Steps 2 to 7 of the flow `apo`: both updates of an APO epoch, with what each learns from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from flows.configs.apo import ApoConfig, Game
from flows.steps.apo_inputs import ApoInputs
from flows.steps.reward_models import train_reward_model
from tasks.compute_reference_logps import compute_reference_logps
from tasks.pair_with_gold import pair_with_gold
from tasks.sample_responses import sample_responses
from tasks.score_responses import score_responses
from tasks.stages.artifact import Artifact
from tasks.stages.runs.context import chapter
from tasks.training.methods.reward_objectives import get_reward_objective
from tasks.update_policy import update_policy
from tasks.update_policy_by_ppo import update_policy_by_ppo


class Epoch(NamedTuple):
    """One APO epoch, and what its models are called in the report."""

    number: int
    """From 1."""
    side: str
    """The line of its policy in Figure 5: APO-DPO, or DPO for the baseline."""
    reward_model: str
    """What scores for its policy: RM_APO-v1, or RM_Base for the baseline."""
    game: Game
    """The game that it belongs to."""
    rival: str = ""
    """The policy of the baseline after as many epochs; empty for that itself."""

    @property
    def policy(self) -> str:
        """Name of the policy after it, for example APO-DPO-v2."""
        return f"{self.side}-v{self.number}"


def epochs_of(config: ApoConfig, game: Game) -> Iterator[Epoch]:
    """Yield the APO epochs of a game."""
    method = config.policy.method.upper()
    side, judge = method, "RM_Base"
    if game.objective:
        side = f"APO-{method}" if game.is_main else f"APO-{method}-{game.objective}"
        judge = "RM_APO" if game.is_main else f"RM_{game.objective.upper()}"
    for number in range(1, config.apo_epochs + 1):
        version = f"-v{number}"
        with chapter(f"epoch {number} of {side}"):
            if game.objective is None:
                yield Epoch(number, side, judge, game)
            else:
                yield Epoch(number, side, judge + version, game, rival=method + version)


def pair_samples_with_gold(
    config: ApoConfig, inputs: ApoInputs, policy: Artifact, epoch: Epoch
) -> Artifact:
    """Steps 2 and 3: D_APO, gold responses against what the policy answers now."""
    gold, label = inputs.gold.part("train"), epoch.reward_model
    samples = sample_responses(
        policy, gold, config=config.rollout(), seed=config.seed, label=f"{label} queries"
    )
    return pair_with_gold(gold, samples, label=label)


def update_reward_models(
    config: ApoConfig, inputs: ApoInputs, before: Artifact, pairs: Artifact, epoch: Epoch
) -> dict[str, Artifact]:
    """Step 4: the reward model of this epoch by name; in epoch 1 also the ablations of Table 4.

    It learns from human preferences and `pairs`, D_APO; `before` is that of the epoch before.
    """
    used, models, wanted = epoch.game.objective, {}, config.reward
    assert used is not None, "the baseline's reward model is not updated"
    ablations = []
    if epoch.game.is_main and epoch.number == 1:
        # Those that play a game of their own have been trained there.
        ablations = [one for one in wanted.ablations if one not in wanted.ablation_games]
    for variant in dict.fromkeys((used, *ablations)):
        # Afresh from the base model unless the variant continues from the epoch before (Table 4).
        objective = get_reward_objective(variant)
        name = epoch.reward_model
        if variant != used:
            name = f"RM_{variant.upper()}-v{epoch.number}"
        models[name] = train_reward_model(
            config,
            variant,
            before if objective.continues else inputs.reward_init,
            [inputs.data.part("rm_train")],
            pairs if objective.plays else None,
            label=name,
        )
    return models


def sample_and_score(
    config: ApoConfig, inputs: ApoInputs, policy: Artifact, reward_model: Artifact, epoch: Epoch
) -> Artifact | None:
    """Steps 5 and 6: what the policy learns from: its own answers to its queries, scored.

    Returns:
        None for PPO, which samples and scores by itself in each of its steps; gold for SFT.
    """
    method = config.policy.traits
    if method.is_online:
        return None
    if method.learns_from == "demonstrations":
        return inputs.gold.part("train")
    responses = sample_responses(
        policy,
        inputs.data.part(config.data.policy_part),
        config=config.rollout(max_queries=config.policy.max_queries),
        seed=config.seed,
        label=f"{epoch.policy} queries",
    )
    return score_responses(reward_model, responses, config=config.scoring(), label=epoch.policy)


def train_policy(
    config: ApoConfig,
    inputs: ApoInputs,
    policy: Artifact,
    reward_model: Artifact,
    scored: Artifact | None,
    epoch: Epoch,
) -> Artifact:
    """Step 7: update the policy on what `sample_and_score` returned.

    What π_ref gives the responses is a stage of its own: another learning rate finds it done.
    """
    settings, label = config.policy, epoch.policy
    reference = inputs.start if settings.reference == "start" else policy
    if scored is None:
        return update_policy_by_ppo(
            policy,
            reward_model,
            inputs.data.part(config.data.policy_part),
            reference,
            config=config.ppo_at_epoch(epoch.number),
            seed=config.seed,
            label=label,
        )
    logps = None
    if settings.traits.needs_reference:
        passed = settings.reference_pass()
        logps = compute_reference_logps(reference, [scored], config=passed, label=label)
    return update_policy(
        policy,
        [scored],
        logps,
        config=settings.at_epoch(epoch.number),
        seed=config.seed,
        label=label,
    )
