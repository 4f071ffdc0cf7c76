"""Measuring policies: the same prompts, the same judges, and KL to the same start for all of them.

It only orders stages; the metrics are computed in `tasks/evaluation`. Each flow says how it draws,
against whom it compares, and what its report lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from flows.configs.base import FlowConfig
from tasks.evaluate_policy import evaluate_policy
from tasks.evaluate_reward_model import evaluate_reward_model
from tasks.evaluation.config import PolicyEvaluation, RewardModelEvaluation
from tasks.evaluation.judging.config import HUMAN, JudgeConfig, match_name
from tasks.evaluation.judging.human_config import BY_PEOPLE, HumanEvaluationConfig
from tasks.judge_by_people import judge_by_people
from tasks.judge_responses import judge_responses
from tasks.models.sample_shards import RolloutConfig
from tasks.sample_responses import sample_responses
from tasks.score_responses import score_responses
from tasks.stages.artifact import Artifact
from tasks.stages.runs.context import current_run

START, CHOSEN = "start", "chosen"
"""What every flow calls the policy it starts from, and the chosen responses of the test set."""

Entry = TypeVar("Entry")


class EvaluatedPolicy(NamedTuple, Generic[Entry]):
    """A policy, or responses that no model here wrote alone, with what was measured of it."""

    entry: Entry
    """How the flow's report lists it."""
    evaluation: Artifact
    """What `evaluate_policy` left."""
    policy: Artifact | None
    """The model; None for given responses and for the best of several samples."""


@dataclass(frozen=True)
class PolicyEvaluator:
    """Evaluates one policy after the other by what all of them share."""

    config: FlowConfig
    """The run's settings."""
    start: Artifact
    """The policy after SFT, the reference of every KL."""
    prompts: Artifact
    """What every policy answers; of dialogues, pairs with the chosen response first."""
    judges: Mapping[str, Artifact]
    """Who scores the answers, by name."""
    world: Artifact | None
    """The playground's world, which knows the true rewards; None for other data."""
    answers: dict[str, Artifact] = field(default_factory=dict)
    """What each evaluated policy answered, by its name."""
    scores: dict[str, dict[str, Artifact]] = field(default_factory=dict)
    """The same as scored by each judge, by the policy's name."""

    def evaluate_policy(
        self,
        name: str,
        policy: Artifact,
        rollout: RolloutConfig,
        kl_rollout: RolloutConfig | None,
        opponents: Mapping[str, Artifact],
    ) -> Artifact:
        """Sample a policy on the test prompts, score the samples, and evaluate it.

        `rollout` says how the answers are drawn that judges score, `kl_rollout` how those that
        estimate KL(policy‖start): untruncated. Where both are the same, one set serves; None for a
        policy that is no descendant of the start.
        """
        responses = self._sample(name, policy, rollout)
        kl_samples, temperature = None, 1.0
        if kl_rollout is not None:
            temperature = kl_rollout.sampling.temperature
            kl_samples = responses
            if kl_rollout != rollout:
                kl_samples = self._sample(f"{name}, for KL", policy, kl_rollout)
        return self.evaluate_responses(
            name,
            responses,
            opponents,
            policy=policy,
            kl_samples=kl_samples,
            temperature=temperature,
        )

    def evaluate_responses(
        self,
        name: str,
        responses: Artifact,
        opponents: Mapping[str, Artifact],
        *,
        policy: Artifact | None = None,
        kl_samples: Artifact | None = None,
        temperature: float = 1.0,
    ) -> Artifact:
        """Score responses by every judge, and evaluate whoever wrote them; None for nobody here.

        `kl_samples` are answers of the policy, drawn at `temperature`, that estimate its KL to the
        start; the name `chosen` means the chosen response of each test pair.
        """
        config, self.answers[name] = self.config, responses
        scores = self.scores[name] = {
            judge: score_responses(
                model, responses, config=config.scoring(), label=f"{name} by {judge}"
            )
            for judge, model in self.judges.items()
        }
        settings = PolicyEvaluation(
            limits=config.sampled_limits,
            template=config.model.template,
            chosen=policy is None and name == CHOSEN,
            examples=config.evaluation.examples,
            bootstrap_samples=config.evaluation.bootstrap_samples,
            temperature=temperature,
        )
        return evaluate_policy(
            scores,
            policy,
            self.start if kl_samples is not None else None,
            kl_samples,
            self.world,
            dict(opponents),
            config=settings,
            seed=config.seed,
            label=name,
        )

    def judge_matches(self, matches: Iterable[tuple[str, str]]) -> dict[str, Artifact]:
        """Let the configured judge, and people, compare the answers of evaluated policies.

        Each match is two names. A question that shows a golden answer shows the chosen one, so it
        is asked of no match of these, and that is said.
        """
        matches = list(dict.fromkeys(matches))
        return {**self._judged(matches), **self._judged_by_people(matches)}

    def _asked_of(
        self, key: str, asked: JudgeConfig | HumanEvaluationConfig, matches: list[tuple[str, str]]
    ) -> list[tuple[str, str]]:
        """Leave out the matches of the answers that a question shows as the golden ones."""
        shown = [one for one in matches if asked.wants_reference and CHOSEN in one]
        if shown:
            names = ", ".join(match_name(*one) for one in shown)
            current_run().progress.note(
                key,
                f"not judged: {names}; the question {asked.question!r} shows the chosen answers "
                "as the golden ones",
            )
        return [one for one in matches if one not in shown]

    def _judged_by_people(self, matches: list[tuple[str, str]]) -> dict[str, Artifact]:
        if (people := self.config.human_evaluation) is None:
            return {}
        wanted = [one for one in matches if people.opponents is None or one[1] in people.opponents]
        return {
            match_name(ours, theirs) + BY_PEOPLE: judge_by_people(
                self.answers[ours],
                self.answers[theirs],
                self.prompts if people.wants_reference else None,
                self.scores[ours],
                self.scores[theirs],
                config=people,
                match=match_name(ours, theirs),
                seed=self.config.seed,
                label=match_name(ours, theirs),
            )
            for ours, theirs in self._asked_of("human_evaluation", people, wanted)
        }

    def _judged(self, matches: list[tuple[str, str]]) -> dict[str, Artifact]:
        if (judge := self.config.judge) is None:
            return {}
        found = {}
        # What the judge is worth: how often it agrees with the people who chose.
        known = [HUMAN] if self.config.data and self.config.data.has_preferences else []
        for ours, theirs in self._asked_of("judge", judge, [*known, *matches]):
            name, is_human = match_name(ours, theirs), (ours, theirs) == HUMAN
            found[name] = judge_responses(
                self.answers[ours],
                None if is_human else self.answers[theirs],
                self.prompts if judge.wants_reference else None,
                self.scores[ours],
                {} if is_human else self.scores[theirs],
                config=judge,
                seed=self.config.seed,
                label=name,
            )
        return found

    def _sample(self, label: str, policy: Artifact, rollout: RolloutConfig) -> Artifact:
        return sample_responses(
            policy, self.prompts, config=rollout, seed=self.config.seed, label=label
        )


def evaluate_on_pairs(
    config: FlowConfig, name: str, reward_model: Artifact, pairs: dict[str, Artifact]
) -> Artifact:
    """Measure how well a reward model ranks, on sets of groups whose column 0 is the better one."""
    settings = RewardModelEvaluation(scoring=config.scoring(), bins=config.evaluation.bins)
    return evaluate_reward_model(reward_model, pairs, config=settings, label=name)
