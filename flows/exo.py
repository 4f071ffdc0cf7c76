"""The flow `exo`: Efficient Exact Optimization and its baselines (arXiv 2402.00856).

Run it with `sparring run exo -c flows/configs/exo-tiny.yaml`.
"""

from __future__ import annotations

from flows.configs.branches.exo_sweep import Branch
from flows.configs.exo import ExoConfig
from flows.placement.local_workers import side_by_side
from flows.runs.flow_decorator import sparring_flow
from flows.steps.exo_evaluation import Evaluated, SweepEvaluation
from flows.steps.exo_inputs import prepare_inputs
from flows.steps.exo_results import estimate_density, offer_best, report_config
from flows.steps.exo_reward import estimate_reward
from flows.steps.exo_training import BranchTrainer, sample_and_score
from tasks.stages.artifact import Artifact
from tasks.stages.runs.context import chapter, current_run
from tasks.write_exo_report import write_exo_report


@sparring_flow
def exo(config: ExoConfig) -> Artifact:
    """Align one start by every branch of the sweep, and report the frontier.

    1. Prepare data and prompts, 2. fine-tune the start π_sft. 3. Label preferences, where the
    oracle does, 4. estimate the reward model from them. Then, for the branches: 5. sample the
    start, 6. score the samples, 7. update each policy, or reinforce it, 8. evaluate every snapshot.
    9. Estimate the density ratios of the policies, and write the report.
    """
    inputs = prepare_inputs(config)  # steps 1 and 2
    supervision = estimate_reward(config, inputs)  # 3 and 4
    evaluation = SweepEvaluation(config, inputs, supervision.judges)
    with side_by_side(current_run(), config.placement.side_by_side) as workers:
        samples = sample_and_score(config, inputs, supervision)  # 5 and 6
        trainer = BranchTrainer(config, inputs, supervision, samples, workers)

        def follow(branch: Branch) -> list[Evaluated]:
            with chapter(branch.label(config.temperature)):
                if not branch.traits.trains:
                    return evaluation.evaluate_best_of_n(branch, samples.test[branch.temperature])
                policy = trainer.update_policy(branch)  # 7
                return evaluation.evaluate_snapshots(branch, policy)  # 8

        sweep = [one for found in workers.map(config.all_branches(), follow) for one in found]
    own = evaluation.opponents[config.temperature]
    current_run().offer = offer_best(config, inputs, supervision, own, sweep)
    density = estimate_density(config, inputs, supervision, sweep)  # 9
    verdicts = evaluation.judge_last(sweep)
    evaluated = [*evaluation.references, *sweep]
    return write_exo_report(
        {one.entry.name: one.evaluation for one in evaluated},
        supervision.evaluations,
        density,
        inputs.examination,
        verdicts,
        config=report_config(config, evaluated),
    )
