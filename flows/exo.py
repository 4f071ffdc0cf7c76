"""The flow `exo`: Efficient Exact Optimization and its baselines (arXiv 2402.00856).

Run it with `sparring run exo -c flows/configs/exo-tiny.yaml`.
"""

from __future__ import annotations

from flows.configs.exo import ORACLE, RM, ExoConfig
from flows.configs.exo_sweep import Branch
from flows.placement.local_workers import side_by_side
from flows.runs.flow_decorator import sparring_flow
from flows.steps.exo_evaluation import Measured, Measures
from flows.steps.exo_results import density_of, offer_best, report_config
from flows.steps.exo_start import Stock, prepare_stock
from flows.steps.exo_training import Lessons, Trainings
from flows.steps.inputs import start_artifact
from tasks.evaluate_reward_model import evaluate_reward_model
from tasks.evaluation.config import RewardModelEvaluation
from tasks.label_preferences import label_preferences
from tasks.sample_responses import sample_responses
from tasks.stages.artifact import Artifact
from tasks.stages.runs.context import current_run
from tasks.update_reward_model import update_reward_model
from tasks.write_exo_report import write_exo_report


@sparring_flow
def exo(config: ExoConfig) -> Artifact:
    """Align one start by every branch of the sweep, and report the frontier.

    1. Prepare data and prompts, 2. fine-tune the start π_sft. 3. Label preferences, where the
    oracle does, 4. estimate the reward model from them. Then, for the branches: 5. sample the
    start, 6. score the samples, 7. update each policy, or reinforce it, 8. evaluate every snapshot.
    9. Weigh the start's samples by each policy, and write the report.
    """
    stock = prepare_stock(config)
    lessons = estimate_reward(config, stock)
    judges = judges_of(config, stock, lessons)
    measures = Measures(config, stock.start, stock.test, judges)
    branches = config.all_branches()
    measures.enter_opponents(config.temperatures())
    with side_by_side(current_run(), config.placement.side_by_side) as workers:
        trainings = Trainings(config, stock, lessons, branches, workers)

        def follow(branch: Branch) -> list[Measured]:
            if not branch.traits.trains:
                return measures.best_of_n(branch, trainings.pools[branch.temperature])
            return measures.branch(branch, trainings.align(branch))

        measured = [one for found in workers.map(branches, follow) for one in found]
    current_run().offer = offer_best(config, stock, lessons, measures, measured)
    contenders = [*measures.shared, *measured]
    return write_exo_report(
        {one.entry.name: one.evaluation for one in contenders},
        lessons.weighed,
        density_of(config, stock, judges, measured),
        config=report_config(config, contenders),
    )


def estimate_reward(config: ExoConfig, stock: Stock) -> Lessons:
    """Steps 3 and 4: D_pref, and the reward model unless the oracle is the reward."""
    preferences, pairs = stock.preferences, stock.pairs
    if config.is_labelled:
        preferences = [label_samples(config, stock, stock.train, "D_pref")]
    if config.supervision == "oracle":
        return Lessons(preferences, None, {}, stock.oracle)
    if config.is_labelled:
        pairs = {"test": label_samples(config, stock, stock.dev, "held-out pairs")}
    corner = stock.start
    if config.start.reward_model:
        corner = start_artifact(config.start.reward_model, "reward_model")
    model = update_reward_model(
        corner, preferences, config=config.reward, seed=config.seed, label=RM
    )
    settings = RewardModelEvaluation(scoring=config.scoring(), bins=config.evaluation.bins)
    weighed = {RM: evaluate_reward_model(model, pairs, config=settings, label=RM)}
    rewarder = None if config.supervision == "preferences" else model
    return Lessons(preferences, model, weighed, rewarder)


def label_samples(config: ExoConfig, stock: Stock, prompts: Artifact, label: str) -> Artifact:
    """Step 3: two samples of the start per prompt, the better one chosen by the oracle."""
    assert stock.oracle is not None, "the configuration was refused without one"
    # Drawn apart from D_rw, so that the reward model scores samples it was not trained on.
    samples = sample_responses(
        stock.start,
        prompts,
        config=config.rollout(config.draws(config.temperature, 2), config.max_queries),
        seed=config.seed + 1,
        label=label,
    )
    return label_preferences(samples, stock.oracle, config=config.labels, label=label)


def judges_of(config: ExoConfig, stock: Stock, lessons: Lessons) -> dict[str, Artifact]:
    """Return who scores every checkpoint, the one that draws the frontier first."""
    known = {ORACLE: stock.oracle, RM: lessons.reward_model}
    return {name: judge for name in config.judges() if (judge := known[name]) is not None}
