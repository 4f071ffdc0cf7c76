"""Step 9 of the flow `exo`: the density ratio, what the run offers, and what the report is told."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from flows.configs.exo import ExoConfig
from flows.configs.exo_evaluation import RM
from flows.steps.evaluation import START
from flows.steps.exo_evaluation import Evaluated
from flows.steps.exo_inputs import SharedInputs
from flows.steps.exo_reward import Supervision
from tasks.estimate_density_ratios import estimate_density_ratios
from tasks.evaluation.exo.config import DensityConfig, ExoEntry, ExoReportConfig, MethodFacts
from tasks.sample_responses import sample_responses
from tasks.score_responses import score_responses
from tasks.stages.artifact import EXTERNAL, Artifact
from tasks.stages.runs.context import Offer
from tasks.training.methods.registry import get_method


def estimate_density(
    config: ExoConfig,
    inputs: SharedInputs,
    supervision: Supervision,
    evaluated: Sequence[Evaluated],
) -> Artifact | None:
    """Weigh samples of the start by the last policy of each method, and by the optimum it aims at.

    The first judge's reward defines the optima. None where it is not wanted or no policy was
    trained.
    """
    wanted, compared = config.evaluation.density, _one_of_each(config, evaluated)
    policies = {one.entry.name: one.policy for one in compared if one.policy}
    if wanted is None or not policies:
        return None
    judge = supervision.judges[config.judges()[0]]
    label, draws = "for the density ratio", config.draws(config.temperature, wanted.samples)
    samples = sample_responses(
        inputs.start,
        inputs.test,
        config=config.rollout(draws, wanted.prompts),
        seed=config.seed,
        label=label,
    )
    scored = score_responses(judge, samples, config=config.scoring(), label=label)
    settings = DensityConfig(
        limits=config.limits,
        template=config.model.template,
        temperature=config.temperature,
        betas={one.entry.name: wanted.beta or _beta(one.entry, config) for one in compared},
        prompts=wanted.prompts,
        bandwidth=wanted.bandwidth,
    )
    return estimate_density_ratios(inputs.start, policies, scored, config=settings)


def offer_best(
    config: ExoConfig,
    inputs: SharedInputs,
    supervision: Supervision,
    opponents: Mapping[str, Artifact],
    evaluated: Sequence[Evaluated],
) -> Offer | None:
    """Return the best last checkpoint with what the gate needs to judge it.

    The best has the highest reward by the first judge, of those within `evaluation.max_kl`. There
    is none where the oracle is the reward: such a run is an experiment. The opponents are
    evaluations at the run's own τ.
    """
    most = config.evaluation.max_kl
    within = [
        one
        for one in evaluated
        if one.policy is not None
        and one.entry.is_last
        and (most is None or one.evaluation.metrics.get("kl", 0.0) <= most)
    ]
    if supervision.reward_model is None or not within:
        return None
    score = f"score/{config.judges()[0]}"
    best = max(within, key=lambda one: one.evaluation.metrics.get(score, 0.0))
    assert best.policy is not None, "best-of-N is no model"
    return Offer(
        {"policy": best.policy, "reward_model": supervision.reward_model},
        {
            "test": inputs.test,
            "start": inputs.start,
            # The playground's world is no stage's output; the gate finds it by the configuration.
            **{name: one for name, one in supervision.judges.items() if one.stage != EXTERNAL},
            "start evaluation": opponents[START],
            "policy evaluation": best.evaluation,
            "reward model evaluation": supervision.evaluations[RM],
            f"{RM} evaluation": supervision.evaluations[RM],
        },
        config.model_dump(mode="json"),
    )


def report_config(config: ExoConfig, evaluated: Sequence[Evaluated]) -> ExoReportConfig:
    """Return what the report must know about the checkpoints, in the order of its tables."""
    judges, evaluation = config.judges(), config.evaluation
    return ExoReportConfig(
        entries=tuple(one.entry for one in evaluated),
        methods={
            name: MethodFacts.model_validate(get_method(name), from_attributes=True)
            for name in sorted({one.entry.method for one in evaluated} - {""})
        },
        judge=judges[0],
        reward_model=RM if RM in judges else None,
        seen=() if config.texts or _holds_dev_out(config) else ("dev",),
        facts={
            "supervision": config.supervision.replace("_", " "),
            "preferences": "labelled by the oracle" if config.is_labelled else "given",
            "temperature τ": f"{config.temperature:g}",
            **_own_facts(config),
            "seed": str(config.seed),
        },
        examples=evaluation.examples,
        bootstrap_samples=evaluation.bootstrap_samples,
    )


def _holds_dev_out(config: ExoConfig) -> bool:
    return config.divided_data().split.dev_from_policy == "held_out"


def _own_facts(config: ExoConfig) -> dict[str, str]:
    """Return what only some runs have: which prompts are trained on, and draws of their own."""
    facts = {}
    if config.data is not None:
        whole = "all of D_pref's" if len(config.pair_parts()) == 1 else "the policy's of D_pref"
        facts["training prompts"] = "a source's own" if config.data.policy_prompts else whole
    own, draws = config.evaluation, config.test_rollout(config.temperature).sampling
    if own.temperature or own.top_p < 1:
        facts["judged answers"] = f"drawn at τ {draws.temperature:g}, top-p {draws.top_p:g}"
    return facts


def _one_of_each(config: ExoConfig, evaluated: Sequence[Evaluated]) -> list[Evaluated]:
    """Return the last policy of the first branch of each method and K."""
    found: dict[tuple[str, int | None], Evaluated] = {}
    for one in evaluated:
        entry = one.entry
        if one.policy and entry.is_last and entry.temperature == config.temperature:
            found.setdefault((entry.method, entry.responses), one)
    return list(found.values())


def _beta(entry: ExoEntry, config: ExoConfig) -> float:
    """Return β of the optimum that a branch aims at; the first one's where it has none."""
    usual = {"kl_coef": config.ppo.kl_coef}
    branches = [(one.method, one.coefficients) for one in config.all_branches()]
    for method, coefficients in [(entry.method, entry.coefficients), *branches]:
        if keys := get_method(method).optimum:
            values = usual | coefficients
            return math.prod(values[key] for key in keys)
    return config.ppo.kl_coef
