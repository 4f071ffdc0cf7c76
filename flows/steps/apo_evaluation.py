"""The referee of a flow: samples, scores and compares every policy, and weighs every reward model.

It only orders stages; the figures are computed in `tasks/evaluation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from flows.configs.apo import ApoConfig
from flows.steps.inputs import model_artifact, oracle_artifact
from tasks.evaluate_policy import evaluate_policy
from tasks.evaluate_reward_model import evaluate_reward_model
from tasks.evaluation.config import Entry, ReportConfig
from tasks.pair_with_gold import pair_with_gold
from tasks.sample_responses import sample_responses
from tasks.score_responses import score_responses
from tasks.stages.artifact import Artifact
from tasks.stages.runs.aliases import CHAMPION
from tasks.update_policy import update_policy


class Contender(NamedTuple):
    """A policy that enters the evaluation."""

    name: str
    """As in the report, for example APO-DPO-v2."""
    side: str
    """The line it belongs to in Figure 5, for example APO-DPO."""
    epoch: int
    """APO epoch; 0 for what was there before the game."""
    policy: Artifact | None
    """The model; None for the chosen responses of the test set."""
    scoring: str = "-"
    """The reward model that trained it."""
    is_ours: bool = True
    """Whether it descends from the start, so that its KL to the start means something."""


class Contest:
    """Evaluates contenders one by one, each against those that the Protocol names."""

    def __init__(
        self,
        config: ApoConfig,
        data: Artifact,
        gold: Artifact,
        start: Artifact,
        testers: dict[str, Artifact],
        oracle: Artifact | None,
    ) -> None:
        """Hold what every evaluation shares.

        Args:
            config: The run's settings.
            data: The prepared splits.
            gold: Gold responses, `train` and `dev`.
            start: The SFT start: reference of the KL and first opponent.
            testers: Testing reward models by name.
            oracle: The playground's world where there is one.
        """
        self.config, self.data, self.gold = config, data, gold
        self.start, self.testers, self.oracle = start, testers, oracle
        self.policies: dict[str, Artifact] = {}
        self.reward_models: dict[str, Artifact] = {}
        self.games: dict[str, Artifact] = {}
        self._entries: list[Entry] = []

    def enter_opponents(self) -> None:
        """Evaluate the start, the chosen responses, golden SFT and the models to compare with."""
        self.enter(Contender("start", "start", 0, self.start))
        self.enter(Contender("chosen", "chosen", 0, None))
        if self.config.golden_sft:
            golden = update_policy(
                self.start,
                [self.gold.part("train")],
                config=self.config.golden_sft,
                seed=self.config.seed,
                label="golden SFT",
            )
            self.enter(Contender("golden-SFT", "golden-SFT", 0, golden))
        for name, model in self.config.compare_with.items():
            policy = model_artifact(model, self.config.model.template, name)
            self.enter(Contender(name, name, 0, policy, is_ours=False))

    def enter(self, contender: Contender) -> None:
        """Sample a contender on the test queries, score it, and compare it with its opponents."""
        evaluation, name = self.config.evaluation, contender.name
        responses, kl_samples = self.data.part("test"), None
        if contender.policy:
            responses = self._sample(contender.policy, name)
        if contender.policy and contender.is_ours:
            kl_samples = self._sample(contender.policy, f"{name}, for KL", for_kl=True)
        scores = {
            tester: score_responses(
                model, responses, config=self.config.scoring(), label=f"{name} by {tester}"
            )
            for tester, model in self.testers.items()
        }
        self.policies[name] = evaluate_policy(
            scores,
            contender.policy,
            self.start if kl_samples else None,
            kl_samples,
            self.oracle,
            self._opponents(contender),
            config=evaluation.of_policy(
                self.config.policy.limits, self.config.model.template, chosen=not contender.policy
            ),
            seed=self.config.seed,
            label=name,
        )
        self._entries.append(
            Entry(name=name, side=contender.side, epoch=contender.epoch, scoring=contender.scoring)
        )

    def weigh(self, name: str, reward_model: Artifact) -> None:
        """Measure a reward model on the human pairs of test and dev (Tables 3 and 4)."""
        pairs = {"test": self.data.part("test"), "dev": self.data.part("dev")}
        self.reward_models[name] = self._evaluate(name, reward_model, pairs)

    def watch_game(self, epoch: int, policy: Artifact, reward_models: dict[str, Artifact]) -> None:
        """Measure how well reward models tell held-out gold from what the policy answers now.

        Args:
            epoch: The APO epoch that is about to update the policy.
            policy: Whose fresh samples are drawn.
            reward_models: The models to measure, by role (`base`, `before`, `adapted`).
        """
        dev = self.gold.part("dev")
        label = f"held-out gold, epoch {epoch}"
        fresh = pair_with_gold(
            dev,
            sample_responses(
                policy, dev, config=self.config.rollout(), seed=self.config.seed, label=label
            ),
            label=label,
        )
        for role, model in reward_models.items():
            name = f"{epoch}/{role}"
            self.games[name] = self._evaluate(f"game {name}", model, {"fresh": fresh})

    def report_config(self) -> ReportConfig:
        """Return what the report must know about the entries."""
        evaluation = self.config.evaluation
        return ReportConfig(
            entries=tuple(self._entries),
            method=self.config.policy.method,
            objective=self.config.reward.objective,
            apo_epochs=self.config.apo_epochs,
            examples=evaluation.examples,
            samples=self.config.sampling.samples,
            max_queries=self.config.policy.max_queries,
            seen_by_testers=tuple(self.testers),
        )

    def _sample(self, policy: Artifact, label: str, *, for_kl: bool = False) -> Artifact:
        evaluation = self.config.evaluation
        most = evaluation.max_queries
        if for_kl and not evaluation.is_untruncated:
            most = evaluation.kl_queries
        return sample_responses(
            policy,
            self.data.part("test"),
            config=self.config.rollout(evaluation.draws(for_kl=for_kl), most),
            seed=self.config.seed,
            label=label,
        )

    def _evaluate(self, name: str, model: Artifact, pairs: dict[str, Artifact]) -> Artifact:
        settings = self.config.evaluation.of_reward_model(self.config.scoring())
        return evaluate_reward_model(model, pairs, config=settings, label=name)

    def _opponents(self, contender: Contender) -> dict[str, Artifact]:
        # The same method with the fixed reward model at the same epoch is the Protocol's main one.
        same_epoch = contender.name.removeprefix("APO-")
        wanted = ("start", same_epoch, "chosen", "golden-SFT", *self.config.compare_with)
        return {
            name: self.policies[name]
            for name in wanted
            if name in self.policies and name != contender.name
        }


def judge_champion(policy: Artifact, config: ApoConfig, basis: Mapping[str, Artifact]) -> Artifact:
    """Measure a champion as the candidate was measured: same prompts, same draws, same judges.

    Args:
        policy: The champion's.
        config: Of the run that made the candidate.
        basis: What that run offered with its models.
    """
    testers = {name: basis[name] for name in config.testers()}
    oracle = oracle_artifact(config.data) if config.gate.tester == "oracle" else None
    contest = Contest(config, basis["data"], basis["gold"], basis["start"], testers, oracle)
    contest.enter(Contender(CHAMPION, CHAMPION, 0, policy, is_ours=False))
    return contest.policies[CHAMPION]
