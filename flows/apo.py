"""The flow `apo`: Adversarial Preference Optimization (arXiv 2311.08045).

Run it with `sparring run apo -c flows/configs/apo-tiny.yaml`.
"""

from __future__ import annotations

from flows.configs.apo import ApoConfig
from flows.runs.flow_decorator import sparring_flow
from flows.steps.apo_evaluation import ApoEvaluation
from flows.steps.apo_inputs import prepare_inputs
from flows.steps.apo_updates import (
    epochs_of,
    pair_samples_with_gold,
    sample_and_score,
    train_policy,
    update_reward_models,
)
from tasks.stages.artifact import Artifact
from tasks.stages.runs.context import Offer, current_run
from tasks.write_apo_report import write_apo_report


@sparring_flow
def apo(config: ApoConfig) -> Artifact:
    """Play the game and report it.

    1. Prepare data, fine-tune the start policy, train RM_Base and the testing reward models,
    collect gold. Then, each APO epoch: 2. sample the policy on the reward model's queries, 3. pair
    the samples with gold, 4. update the reward model, 5. sample the policy on its own queries,
    6. score the responses, 7. update the policy, 8. evaluate both. 9. Write the report.
    """
    inputs = prepare_inputs(config)  # step 1
    evaluation = ApoEvaluation(config, inputs)
    evaluation.evaluate_opponents()
    for game in config.games():
        policy, reward_model = inputs.start, inputs.reward_base
        for epoch in epochs_of(config, game):
            if game.objective:
                pairs = pair_samples_with_gold(config, inputs, policy, epoch)  # 2 and 3
                models = update_reward_models(config, inputs, reward_model, pairs, epoch)  # 4
                before, reward_model = reward_model, models[epoch.reward_model]
                evaluation.evaluate_reward_models(models)
                if game.is_main:
                    evaluation.evaluate_game(epoch.number, policy, before, reward_model)
            scored = sample_and_score(config, inputs, policy, reward_model, epoch)  # 5 and 6
            policy = train_policy(config, inputs, policy, reward_model, scored, epoch)  # 7
            evaluation.evaluate_policy(epoch.policy, policy, epoch)  # 8
        if game.objective and game.is_main:
            evaluation.evaluate_game(config.apo_epochs + 1, policy, reward_model)
    models = {"policy": policy, "reward_model": reward_model}
    current_run().offer = Offer(models, evaluation.basis_of(epoch), config.model_dump(mode="json"))
    verdicts = evaluation.judge_policies()
    return write_apo_report(
        inputs.data.part("table1.json"),
        inputs.examination,
        inputs.gold,
        {name: one.evaluation for name, one in evaluation.policies.items()},
        evaluation.reward_models,
        evaluation.games,
        verdicts,
        config=evaluation.report_config(),
    )
