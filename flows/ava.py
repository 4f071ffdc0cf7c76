"""The flow `ava`: Approximated Variational Alignment and its baselines (arXiv 2411.09341).

Run it with `sparring run ava -c flows/configs/ava-tiny.yaml`.
"""

from __future__ import annotations

from flows.configs.ava import AvaConfig
from flows.configs.branches.ava_cells import Cell
from flows.placement.local_workers import side_by_side
from flows.runs.flow_decorator import sparring_flow
from flows.steps.ava.arm_evaluation import ArmEvaluation
from flows.steps.ava.arm_training import ArmTrainer
from flows.steps.ava.evaluated_arms import EvaluatedArm
from flows.steps.ava.inputs import prepare_inputs
from flows.steps.ava.offering import offer_best, report
from tasks.stages.artifact import Artifact
from tasks.stages.runs.context import chapter, current_run


@sparring_flow
def ava(config: AvaConfig) -> Artifact:
    """Train every arm from one start, as a reward model or directly, and compare them.

    1. Prepare data, make the start and train the testing reward model, 2. pair demonstrations that
    nobody labelled (AfD). Then, for the arms: 3. train the reward model, or the policy itself.
    4. Measure a reward model's accuracy, 5. pick the best of N by it, 6. train a policy by PPO with
    it. 7. Evaluate every policy. 8. Write the report.
    """
    inputs = prepare_inputs(config)  # steps 1 and 2
    evaluation = ArmEvaluation(config, inputs)
    with side_by_side(current_run(), config.placement.side_by_side) as workers:
        trainer = ArmTrainer(config, inputs, workers)

        def follow(cell: Cell) -> EvaluatedArm:
            with chapter(f"{cell.title} s{cell.seed}"):
                return evaluation.evaluate(cell, trainer.train(cell))  # 3 to 7

        arms = workers.map(config.cells(), follow)
    current_run().offer = offer_best(config, inputs, evaluation, arms)
    return report(config, inputs, evaluation, arms)  # 8
