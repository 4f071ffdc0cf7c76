"""The flow `apo`: Adversarial Preference Optimization (arXiv 2311.08045).

Run it with `sparring run apo -c flows/configs/apo-tiny.yaml`.
"""

from __future__ import annotations

from typing import NamedTuple

from flows.configs.apo import ApoConfig
from flows.runs.flow_decorator import sparring_flow
from flows.steps.apo_evaluation import Contender, Contest
from flows.steps.inputs import (
    check_inputs,
    file_artifact,
    model_artifact,
    oracle_artifact,
    source_artifacts,
    start_artifact,
)
from tasks.collect_gold import collect_gold
from tasks.compute_reference_logps import compute_reference_logps
from tasks.initialise_policy import initialise_policy
from tasks.pair_with_gold import pair_with_gold
from tasks.prepare_data import prepare_data
from tasks.sample_responses import sample_responses
from tasks.score_responses import score_responses
from tasks.stages.artifact import Artifact
from tasks.stages.runs.context import Offer, current_run
from tasks.training.methods.reward_objectives import get_reward_objective
from tasks.update_policy import update_policy
from tasks.update_policy_by_ppo import update_policy_by_ppo
from tasks.update_reward_model import update_reward_model
from tasks.write_apo_report import write_apo_report


class Ring(NamedTuple):
    """What both sides of the game start from."""

    data: Artifact
    """The prepared splits."""
    gold: Artifact
    """Gold responses, `train` and `dev`."""
    start: Artifact
    """The policy after SFT."""
    corner: Artifact
    """The model every reward model of the game starts from."""
    judge: Artifact
    """The model the testing reward models start from."""
    reward_base: Artifact
    """RM_Base: the fixed reward model of the baseline."""


class Finalists(NamedTuple):
    """What a run offers as its result."""

    name: str
    """The policy's name in the report."""
    policy: Artifact
    """After the last APO epoch."""
    scoring: str
    """The reward model's name in the report."""
    reward_model: Artifact
    """The one that scored for it."""


@sparring_flow
def apo(config: ApoConfig) -> Artifact:
    """Play the game and report it.

    1. Prepare data, fine-tune the start policy, train RM_Base and the testing reward models,
    collect gold. Then, each APO epoch: 2. sample the policy on the reward model's queries, 3. pair
    the samples with gold, 4. update the reward model, 5. sample the policy on its own queries,
    6. score the responses, 7. update the policy, 8. evaluate both. 9. Write the report.
    """
    contest, models = compete(config)
    current_run().offer = offer(config, contest, models)
    return write_apo_report(
        contest.data.part("table1.json"),
        contest.gold.part("train/index.json"),
        contest.policies,
        contest.reward_models,
        contest.games,
        config=contest.report_config(),
    )


def offer(config: ApoConfig, contest: Contest, models: Finalists) -> Offer:
    """Return the last policy and reward model, with what the gate needs to judge them."""
    return Offer(
        {"policy": models.policy, "reward_model": models.reward_model},
        {
            "data": contest.data,
            "gold": contest.gold,
            "start": contest.start,
            **contest.testers,
            "start evaluation": contest.policies["start"],
            "policy evaluation": contest.policies[models.name],
            "reward model evaluation": contest.reward_models[models.scoring],
        },
        config.model_dump(mode="json"),
    )


def compete(config: ApoConfig) -> tuple[Contest, Finalists]:
    """Steps 1 to 8: everything but the report."""
    ring = enter_ring(config)
    oracle = oracle_artifact(config.data)
    testers = train_testers(config, ring)
    contest = Contest(config, ring.data, ring.gold, ring.start, testers, oracle)
    for name, model in {**testers, "RM_Base": ring.reward_base}.items():
        contest.weigh(name, model)
    contest.enter_opponents()
    if config.baseline or not config.adversarial:
        models = play(config, ring, contest, adversarial=False)
    if config.adversarial:
        models = play(config, ring, contest, adversarial=True)
    return contest, models


def enter_ring(config: ApoConfig) -> Ring:
    """Step 1: prepare the data, the start policy, RM_Base and gold."""
    check_inputs(config)
    data = prepare_data(source_artifacts(config.data), config=config.data)
    start = start_policy(config, data)
    judge = start
    if config.reward.base:
        judge = model_artifact(config.reward.base, config.reward.template, "reward base")
    corner = judge
    if config.start.reward_model:
        corner = start_artifact(config.start.reward_model, "reward_model")
    reward_base = update_reward_model(
        corner,
        [data.part("rm_train")],
        config=config.reward.plain(),
        seed=config.seed,
        label="RM_Base",
    )
    answers = file_artifact(config.gold.path)
    gold = collect_gold(data.part("rm_queries"), answers, config=config.gold)
    return Ring(data, gold, start, corner, judge, reward_base)


def start_policy(config: ApoConfig, data: Artifact) -> Artifact:
    """Step 1: the configured policy after SFT, or the finished one that `start.policy` names."""
    if config.start.policy:
        return start_artifact(config.start.policy, "policy")
    corpora = [data.part("demonstrations"), data.part("rm_train")]
    start = initialise_policy(
        corpora, file_artifact(config.model.path), config=config.model, seed=config.seed
    )
    if config.sft:
        start = update_policy(
            start, [data.part("demonstrations")], config=config.sft, seed=config.seed, label="SFT"
        )
    return start


def train_testers(config: ApoConfig, ring: Ring) -> dict[str, Artifact]:
    """Train RM_Test on all human preferences, and RM_All on further sets too (Table 3)."""
    everything = [ring.data.part("rm_train"), ring.data.part("policy_train")]
    sets = {"RM_Test": everything}
    if config.data.resolved().extra_preferences:
        sets["RM_All"] = [*everything, ring.data.part("extra")]
    return {
        name: update_reward_model(
            ring.judge,
            preferences,
            config=config.reward.plain(),
            seed=config.seed,
            label=name,
        )
        for name, preferences in sets.items()
    }


def play(config: ApoConfig, ring: Ring, contest: Contest, *, adversarial: bool) -> Finalists:
    """Steps 2 to 8: alternate the updates, or update the policy alone under RM_Base."""
    side = config.policy.method.upper()
    side = f"APO-{side}" if adversarial else side
    policy, reward_model, scoring = ring.start, ring.reward_base, "RM_Base"
    for epoch in range(1, config.apo_epochs + 1):
        name = f"{side}-v{epoch}"
        if adversarial:
            before, scoring = reward_model, f"RM_APO-v{epoch}"
            reward_model = adapt_reward_model(config, ring, contest, policy, before, epoch)
            models = {"base": ring.reward_base, "before": before, "adapted": reward_model}
            contest.watch_game(epoch, policy, models)
        reference = ring.start if config.policy.reference == "start" else policy
        policy = train_policy(config, ring, policy, reference, reward_model, epoch, name)
        contest.enter(Contender(name, side, epoch, policy, scoring))
    if adversarial:
        models = {"base": ring.reward_base, "before": reward_model}
        contest.watch_game(config.apo_epochs + 1, policy, models)
    return Finalists(name, policy, scoring, reward_model)


def adapt_reward_model(
    config: ApoConfig, ring: Ring, contest: Contest, policy: Artifact, before: Artifact, epoch: int
) -> Artifact:
    """Steps 2 to 4: let the reward model learn gold from what the policy answers now."""
    gold, name = ring.gold.part("train"), f"RM_APO-v{epoch}"
    samples = sample_responses(
        policy, gold, config=config.rollout(), seed=config.seed, label=f"{name} queries"
    )
    pairs = pair_with_gold(gold, samples, label=name)
    variants = config.reward.ablations if epoch == 1 else ()
    for variant in (config.reward.objective, *variants):
        # Afresh from the base model unless the variant continues from the epoch before (Table 4).
        objective = get_reward_objective(variant)
        label = name if variant == config.reward.objective else f"RM_{variant.upper()}-v{epoch}"
        model = update_reward_model(
            before if objective.continues else ring.corner,
            [ring.data.part("rm_train")],
            pairs if objective.game else None,
            config=config.reward.adapted(variant),
            seed=config.seed,
            label=label,
        )
        contest.weigh(label, model)
        if variant == config.reward.objective:
            adapted = model
    return adapted


def train_policy(
    config: ApoConfig,
    ring: Ring,
    policy: Artifact,
    reference: Artifact,
    reward_model: Artifact,
    epoch: int,
    name: str,
) -> Artifact:
    """Steps 5 to 7: sample the policy on its queries, score the responses, update the policy.

    What π_ref gives the responses is a stage of its own: another learning rate finds it done. PPO
    samples and scores by itself, in each of its steps.
    """
    method = config.policy.traits
    if method.is_online:
        return update_policy_by_ppo(
            policy,
            reward_model,
            ring.data.part("policy_train"),
            reference,
            config=config.policy.ppo_at_epoch(epoch, config.sampling, config.scoring()),
            seed=config.seed,
            label=name,
        )
    groups = ring.gold.part("train")
    if method.learns_from != "demonstrations":
        responses = sample_responses(
            policy,
            ring.data.part("policy_train"),
            config=config.rollout(max_queries=config.policy.max_queries),
            seed=config.seed,
            label=f"{name} queries",
        )
        groups = score_responses(reward_model, responses, config=config.scoring(), label=name)
    logps = None
    if method.needs_reference:
        passed = config.policy.reference_pass()
        logps = compute_reference_logps(reference, [groups], config=passed, label=name)
    return update_policy(
        policy,
        [groups],
        logps,
        config=config.policy.at_epoch(epoch),
        seed=config.seed,
        label=name,
    )
