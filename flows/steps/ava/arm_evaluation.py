"""Steps 4 to 7 of the flow `ava`: what an arm's model is worth, and what is made with it.

It only orders stages; the metrics are computed in `tasks/evaluation`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from flows.configs.ava import ORACLE, TESTER, AvaConfig
from flows.configs.branches.ava_cells import TQR_OBJECTIVES, Cell
from flows.steps.ava.evaluated_arms import Evaluated, EvaluatedArm, EvaluatedReward
from flows.steps.ava.inputs import AvaInputs, testers_of
from flows.steps.evaluation import (
    CHOSEN,
    START,
    EvaluatedPolicy,
    PolicyEvaluator,
    evaluate_on_pairs,
)
from flows.steps.inputs import oracle_artifact
from flows.steps.tqr_starts import tqr_of
from tasks.diagnose_rewards import diagnose_rewards
from tasks.evaluation.ava.config import OWN, AvaEntry, DiagnosisConfig, RewardEntry
from tasks.models.sample_shards import RolloutConfig
from tasks.pick_best_of_n import pick_best_of_n
from tasks.sample_responses import sample_responses
from tasks.score_responses import score_responses
from tasks.stages.artifact import Artifact
from tasks.stages.runs.aliases import CHAMPION
from tasks.update_policy_by_ppo import update_policy_by_ppo


class ArmEvaluation:
    """Evaluates the arms, and first of all what they are compared with.

    Attributes:
        references: The start and the chosen responses.
        tester: What was measured of the testing reward model; None without one.
        judged: The start's samples with the scores of the judge that decides, by its name.
    """

    def __init__(self, config: AvaConfig, inputs: AvaInputs) -> None:
        """Evaluate the start, the chosen responses and the testing reward model."""
        self._config, self._inputs, cells = config, inputs, config.cells()
        self._evaluator = evaluator_of(config, inputs.start, inputs.test, inputs.testers)
        rollouts = rollouts_of(config)
        start = self._evaluator.evaluate_policy(START, inputs.start, *rollouts, {})
        chosen = self._evaluator.evaluate_responses(CHOSEN, inputs.test, {START: start})
        self.references = [
            EvaluatedPolicy(AvaEntry(name=START, line=START, kind="start"), start, inputs.start),
            EvaluatedPolicy(AvaEntry(name=CHOSEN, line=CHOSEN, kind="chosen"), chosen, None),
        ]
        self._opponents: Mapping[str, Artifact] = {START: start, CHOSEN: chosen}
        pairs = {"test": inputs.test}
        model = inputs.testers.get(TESTER)
        self.tester = model and evaluate_on_pairs(config, TESTER, model, pairs)
        continues = config.best_of_n or config.ppo
        self._samples = (
            self._sample_start() if continues and any(cell.goes_on for cell in cells) else None
        )
        self.judged = self._judge_start()

    def evaluate(self, cell: Cell, model: Artifact) -> EvaluatedArm:
        """Measure what an arm trained; a whole reward model goes on to best-of-N and PPO."""
        if cell.pipeline == "direct":
            return EvaluatedArm([self._evaluate_policy(cell, model)], None)
        reward = self._evaluate_reward(cell, model)
        policies: list[Evaluated] = []
        snapshots: list[Evaluated] = []
        if self._samples and cell.goes_on:
            label = f"{START} by {reward.entry.name}"
            scored = score_responses(
                model, self._samples, config=self._config.scoring(), label=label
            )
            reward = reward._replace(scored=scored)
            if self._config.best_of_n:
                policies.append(self._pick_best(cell, model, scored))
            if self._config.ppo:
                *snapshots, last = self._reinforce(cell, model, scored)
                policies.append(last)
        return EvaluatedArm(policies, reward, snapshots)

    def judge_policies(self, policies: Sequence[Evaluated]) -> dict[str, Artifact]:
        """Let the judge compare those that meet in the paper's Tables 2 to 5, seed by seed."""
        return self._evaluator.judge_matches(
            (ours.entry.name, theirs.entry.name)
            for ours in policies
            for theirs in policies
            if ours.entry.meets(theirs.entry)
            and (theirs.entry.kind == "start" or ours.entry.seed == theirs.entry.seed)
        )

    def _evaluate_reward(self, cell: Cell, model: Artifact) -> EvaluatedReward:
        """Step 4: measure how often a reward model is right on pairs that no arm saw.

        The rewards of AVA's are looked at token by token too.
        """
        pairs = {"test": self._inputs.test, "dev": self._inputs.data.part("dev")}
        name = f"{cell.title} s{cell.seed}"
        entry = RewardEntry(
            name=name,
            line=cell.title,
            objective=cell.objective,
            data=cell.data,
            ablation=cell.ablation,
            seed=cell.seed,
        )
        evaluation = evaluate_on_pairs(self._config, name, model, pairs)
        diagnosis = None
        if cell.objective in TQR_OBJECTIVES and cell.ablation == "none":
            settings = DiagnosisConfig(
                scoring=self._config.scoring(),
                gamma=self._config.ava.gamma,
                most_groups=self._config.diagnosis_pairs,
                examples=self._config.evaluation.examples,
            )
            diagnosis = diagnose_rewards(
                model,
                self._inputs.test,
                self._evaluator.world,
                config=settings,
                seed=cell.seed,
                label=name,
            )
        return EvaluatedReward(entry, evaluation, model, diagnosis)

    def _sample_start(self) -> Artifact:
        """Sample the start for reward models to pick from; without best-of-N as it is measured."""
        picks, draws = self._config.best_of_n, self._config.sampling
        if picks:
            draws = draws.model_copy(update={"samples": picks.n * picks.most})
        return sample_responses(
            self._inputs.start,
            self._inputs.test,
            config=self._config.rollout(draws, self._config.test_prompts),
            seed=self._config.seed,
            label=f"{START} K{draws.samples}",
        )

    def _judge_start(self) -> dict[str, Artifact]:
        """Let the judge that decides score the start's samples, if it is a model or the oracle."""
        judge = self._config.judges()[0]
        model = {**self._inputs.testers, ORACLE: self._evaluator.world}.get(judge)
        if self._samples is None or model is None:
            return {}
        label = f"{START} for best-of-N by {judge}"
        scoring = self._config.scoring()
        return {judge: score_responses(model, self._samples, config=scoring, label=label)}

    def _pick_best(self, cell: Cell, model: Artifact, scored: Artifact) -> Evaluated:
        """Step 5: pick the best of N samples of the start."""
        picks = self._config.best_of_n
        assert picks is not None, "asked where there is best-of-N"
        entry = _entry(cell, "best_of_n", scored=scored, responses=picks.n)
        picked = pick_best_of_n(scored, config=picks, label=entry.name)
        evaluation = self._with_proxy(model).evaluate_responses(entry.name, picked, self._opponents)
        return EvaluatedPolicy(entry, evaluation, None)

    def _reinforce(self, cell: Cell, model: Artifact, scored: Artifact) -> list[Evaluated]:
        """Step 6: train the start by PPO with the reward model's scores; evaluate snapshots too."""
        config, start = self._config, self._inputs.start
        assert config.ppo is not None, "asked where there is PPO"
        entry = _entry(cell, "ppo", scored=scored)
        policy = update_policy_by_ppo(
            start,
            model,
            self._inputs.data.part(config.divided_data().policy_part),
            start,
            config=config.ppo_settings(config.ppo),
            seed=cell.seed,
            label=entry.name,
        )
        found, count = [], config.ppo.snapshots
        for number in range(1, count + 1):
            is_last = number == count
            name = entry.name if is_last else f"{entry.name} {number}/{count}"
            snapshot = policy if is_last else policy.part(f"snapshots/{number}")
            evaluation = self._with_proxy(model).evaluate_policy(
                name, snapshot, *rollouts_of(config), self._opponents
            )
            listed = entry.model_copy(update={"name": name})
            found.append(EvaluatedPolicy(listed, evaluation, snapshot))
        return found

    def _evaluate_policy(self, cell: Cell, policy: Artifact) -> Evaluated:
        """Step 7, of a policy that an arm trained directly."""
        entry = _entry(cell, "direct")
        rollouts = rollouts_of(self._config, self._temperature(cell))
        evaluation = self._evaluator.evaluate_policy(entry.name, policy, *rollouts, self._opponents)
        return EvaluatedPolicy(entry, evaluation, policy)

    def _temperature(self, cell: Cell) -> float:
        """Return what a policy's logits are divided by before any draw."""
        is_tqr = cell.objective in TQR_OBJECTIVES
        return cell.tqr(self._config.tqr).temperature if is_tqr else 1.0

    def _with_proxy(self, model: Artifact) -> PolicyEvaluator:
        """Return the evaluator in which a reward model too judges what it picked or trained."""
        judges = {**self._evaluator.judges, OWN: model}
        return replace(self._evaluator, judges=judges)


def evaluator_of(
    config: AvaConfig, start: Artifact, test: Artifact, testers: Mapping[str, Artifact]
) -> PolicyEvaluator:
    """Return the one evaluator of a run."""
    return PolicyEvaluator(config, start, test, testers, oracle_artifact(config.data))


def rollouts_of(
    config: AvaConfig, temperature: float = 1.0
) -> tuple[RolloutConfig, RolloutConfig | None]:
    """Return how the answers are drawn that judges score, and those that estimate the KL.

    The latter come from the whole distribution. `temperature` is the policy's own: at another than
    1 it is measured against no start, which has that.
    """
    own = config.sampling.temperature * temperature
    draws = config.sampling.model_copy(update={"temperature": own})
    whole = {"top_k": 0, "top_p": 1.0, "temperature": own or 1.0}
    untruncated = draws.model_copy(update=whole)
    most = config.test_prompts
    for_kl = config.rollout(untruncated, most) if temperature == 1 else None
    return config.rollout(draws, most), for_kl


def judge_champion(
    policy: Artifact, config: AvaConfig, basis: Mapping[str, Artifact], name: str = CHAMPION
) -> Artifact:
    """Evaluate a champion as the candidate was evaluated: same prompts, same draws, same judges.

    The config is that of the candidate's run, the basis what this run offered with its models.
    """
    # A record names whole outputs of stages.
    test = basis["test"].part("test")
    testers = testers_of(config, basis.get(TESTER), test)
    evaluator = evaluator_of(config, basis["start"], test, testers)
    own = tqr_of(policy)
    rollouts = rollouts_of(config, own.temperature if own else 1.0)
    return evaluator.evaluate_policy(name, policy, *rollouts, {})


def _entry(cell: Cell, kind: Any, *, scored: Artifact | None = None, **own: Any) -> AvaEntry:
    """Return how the report lists what was made of a cell."""
    line = {"direct": "", "best_of_n": "BoN w/ ", "ppo": "PPO w/ "}[kind] + cell.title
    proxy = None if scored is None else scored.metrics.get("mean_score", 0.0)
    return AvaEntry(
        name=f"{line} s{cell.seed}",
        line=line,
        kind=kind,
        objective=cell.objective,
        data=cell.data,
        seed=cell.seed,
        start_proxy=proxy,
        **own,
    )
