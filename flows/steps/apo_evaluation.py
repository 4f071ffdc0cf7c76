"""Step 8 of the flow `apo`: every policy against its opponents, and every reward model.

It only orders stages; the metrics are computed in `tasks/evaluation`.
"""

from __future__ import annotations

from collections.abc import Mapping

from flows.configs.apo import ApoConfig
from flows.steps.apo_inputs import ApoInputs
from flows.steps.apo_updates import Epoch
from flows.steps.evaluation import (
    CHOSEN,
    START,
    EvaluatedPolicy,
    PolicyEvaluator,
    evaluate_on_pairs,
)
from flows.steps.inputs import model_artifact, oracle_artifact
from flows.steps.tqr_starts import require_temperature
from tasks.evaluation.config import Entry, ReportConfig
from tasks.gold.collection import OWN_GOLD
from tasks.models.sample_shards import RolloutConfig
from tasks.pair_with_gold import pair_with_gold
from tasks.sample_responses import sample_responses
from tasks.stages.artifact import Artifact
from tasks.stages.runs.aliases import CHAMPION
from tasks.update_policy import update_policy

_GOLDEN_SFT = "golden-SFT"


class ApoEvaluation:
    """Evaluates policies and reward models as the game goes on, and keeps what was found.

    Attributes:
        policies: The policies evaluated so far, by name, in the order of the report.
        reward_models: Evaluations of reward models on human preferences, by name.
        games: Evaluations of reward models on held-out gold, by APO epoch and role.
    """

    def __init__(self, config: ApoConfig, inputs: ApoInputs) -> None:
        """Evaluate the reward models that stay fixed."""
        self._config, self._inputs = config, inputs
        world, test = oracle_artifact(config.data), inputs.data.part("test")
        self._evaluator = PolicyEvaluator(config, inputs.start, test, inputs.testers, world)
        self.policies: dict[str, EvaluatedPolicy[Entry]] = {}
        self.reward_models: dict[str, Artifact] = {}
        self.games: dict[str, Artifact] = {}
        self.evaluate_reward_models({**inputs.testers, "RM_Base": inputs.reward_base})

    def evaluate_opponents(self) -> None:
        """Evaluate the start, the chosen responses, golden SFT and the models to compare with."""
        config, start = self._config, self._inputs.start
        self.evaluate_policy(START, start)
        self.evaluate_policy(CHOSEN, None)
        if config.golden_sft:
            golden = update_policy(
                start,
                [self._inputs.gold.part("train")],
                config=config.golden_sft,
                seed=config.seed,
                label="golden SFT",
            )
            self.evaluate_policy(_GOLDEN_SFT, golden)
        for name, model in config.compare_with.items():
            template = config.template_of(name)
            policy = model_artifact(model, template, name)
            require_temperature(policy, config.policy_temperature)
            rollout = config.test_rollout().model_copy(update={"template": template})
            self.evaluate_policy(name, policy, rollout=rollout)

    def evaluate_policy(
        self,
        name: str,
        policy: Artifact | None,
        epoch: Epoch | None = None,
        *,
        rollout: RolloutConfig | None = None,
    ) -> None:
        """Sample a policy on the test queries, score it, and compare it with its opponents.

        Without a policy it is the chosen responses of the test set; without an epoch it was there
        before the game. A `rollout` of its own is that of a model which does not descend from the
        start, so that a KL to that means nothing.
        """
        opponents = self._opponents(name, epoch.rival if epoch else "")
        if policy is None:
            responses = self._inputs.data.part("test")
            evaluation = self._evaluator.evaluate_responses(name, responses, opponents)
        else:
            evaluation = self._evaluator.evaluate_policy(
                name,
                policy,
                rollout or self._config.test_rollout(),
                None if rollout else self._config.test_rollout(for_kl=True),
                opponents,
            )
        entry = Entry(name=name, side=name, epoch=0, scoring="-")
        if epoch is not None:
            entry = Entry(
                name=name,
                side=epoch.side,
                epoch=epoch.number,
                scoring=epoch.reward_model,
                rival=epoch.rival,
            )
        self.policies[name] = EvaluatedPolicy(entry, evaluation, policy)

    def judge_policies(self) -> dict[str, Artifact]:
        """Let the judge compare the last policy of each side with its opponents (Figure 3)."""
        last = {one.entry.side: name for name, one in self.policies.items() if one.entry.epoch}
        matches = [
            (name, other)
            for name in last.values()
            for other in self._opponents(name, self.policies[name].entry.rival)
        ]
        return self._evaluator.judge_matches(matches)

    def evaluate_reward_models(self, models: Mapping[str, Artifact]) -> None:
        """Measure reward models, by name, on the human pairs of test and dev (Tables 3 and 4)."""
        pairs = {part: self._inputs.data.part(part) for part in ("test", "dev")}
        for name, model in models.items():
            self.reward_models[name] = evaluate_on_pairs(self._config, name, model, pairs)

    def evaluate_game(
        self, number: int, policy: Artifact, before: Artifact, adapted: Artifact | None = None
    ) -> None:
        """Measure how well reward models tell held-out gold from what the policy answers now.

        That is in the APO epoch of this number, which is about to update the policy, by the reward
        models of the epoch before and of this one; None when the game is over.
        """
        config, dev = self._config, self._inputs.gold.part("dev")
        label = f"held-out gold, epoch {number}"
        samples = sample_responses(
            policy, dev, config=config.rollout(), seed=config.seed, label=label
        )
        fresh = {"fresh": pair_with_gold(dev, samples, label=label)}
        models = {"base": self._inputs.reward_base, "before": before, "adapted": adapted}
        for role, model in models.items():
            if model is not None:
                name = f"{number}/{role}"
                self.games[name] = evaluate_on_pairs(config, f"game {name}", model, fresh)

    def basis_of(self, epoch: Epoch) -> dict[str, Artifact]:
        """Return what the gate needs to judge the models of an epoch."""
        return {
            "data": self._inputs.data,
            "gold": self._inputs.gold,
            "start": self._inputs.start,
            **self._inputs.testers,
            "start evaluation": self.policies[START].evaluation,
            "policy evaluation": self.policies[epoch.policy].evaluation,
            "reward model evaluation": self.reward_models[epoch.reward_model],
            **{f"{name} evaluation": self.reward_models[name] for name in self._inputs.testers},
        }

    def report_config(self) -> ReportConfig:
        """Return what the report must know about the entries."""
        config = self._config
        return ReportConfig(
            entries=tuple(one.entry for one in self.policies.values()),
            method=config.policy.method,
            objective=config.reward.objective,
            apo_epochs=config.apo_epochs,
            examples=config.evaluation.examples,
            samples=config.sampling.samples,
            max_queries=config.policy.max_queries,
            seen_by_testers=tuple(self._inputs.testers),
            gold_note=OWN_GOLD if config.gold.provider == "chosen" else "",
        )

    def _opponents(self, name: str, rival: str) -> dict[str, Artifact]:
        # The same method with the fixed reward model at the same epoch is the Protocol's main one.
        wanted = (START, rival, CHOSEN, _GOLDEN_SFT, *self._config.compare_with)
        return {
            other: self.policies[other].evaluation
            for other in wanted
            if other in self.policies and other != name
        }


def judge_champion(
    policy: Artifact, config: ApoConfig, basis: Mapping[str, Artifact], name: str = CHAMPION
) -> Artifact:
    """Evaluate a champion as the candidate was evaluated: same prompts, same draws, same judges.

    The config is that of the candidate's run, the basis what this run offered with its models. Of
    another policy, which has another name, the KL to the start is measured, too.
    """
    testers = {name: basis[name] for name in config.testers()}
    world = oracle_artifact(config.data) if config.gate.tester == "oracle" else None
    test = basis["data"].part("test")
    evaluator = PolicyEvaluator(config, basis["start"], test, testers, world)
    for_kl = None if name == CHAMPION else config.test_rollout(for_kl=True)
    return evaluator.evaluate_policy(name, policy, config.test_rollout(), for_kl, {})
