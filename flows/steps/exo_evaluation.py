"""The referee of the flow `exo`: one set of samples per checkpoint serves every figure.

It only orders stages; the figures are computed in `tasks/evaluation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from flows.configs.exo import ORACLE, RM, ExoConfig
from flows.configs.exo_sweep import Branch
from flows.steps.inputs import oracle_artifact
from tasks.evaluate_policy import evaluate_policy
from tasks.evaluation.config import BestOfN, PolicyEvaluation
from tasks.evaluation.exo.config import ExoEntry
from tasks.pick_best_of_n import pick_best_of_n
from tasks.sample_responses import sample_responses
from tasks.score_responses import score_responses
from tasks.stages.artifact import Artifact
from tasks.stages.runs.aliases import CHAMPION
from tasks.training.methods.method import RESPONSES

START, CHOSEN = "start", "chosen"


class Measured(NamedTuple):
    """One contender and what was measured of it."""

    entry: ExoEntry
    """As the report lists it."""
    evaluation: Artifact
    """Its evaluation."""
    policy: Artifact | None
    """Its model; None for responses that no model here wrote alone."""


class Measures:
    """Evaluates checkpoints, each against the start and the chosen responses."""

    def __init__(
        self, config: ExoConfig, start: Artifact, test: Artifact, judges: Mapping[str, Artifact]
    ) -> None:
        """Hold what every evaluation shares.

        Args:
            config: The run's settings.
            start: π_sft.
            test: Prompts, or pairs with the chosen response first.
            judges: Who scores, by name.
        """
        self.config, self.start, self.test, self.judges = config, start, test, judges
        self.opponents: dict[float, dict[str, Artifact]] = {}
        self.shared: list[Measured] = []

    def enter_opponents(self, temperatures: list[float]) -> None:
        """Evaluate the start at each τ, and the chosen responses where there are any.

        Args:
            temperatures: Every τ of the sweep; the first one is the report's own.
        """
        chosen: dict[str, Artifact] = {}
        if self.config.data is not None:
            evaluation = self.weigh(CHOSEN, None, self.test, self.config.temperature)
            chosen = {CHOSEN: evaluation}
            self.shared.append(Measured(ExoEntry(name=CHOSEN, kind="chosen"), evaluation, None))
        for tau in temperatures:
            evaluation = self.checkpoint(
                START if tau == temperatures[0] else f"{START} τ{tau:g}", self.start, tau, None
            )
            self.opponents[tau] = {START: evaluation, **chosen}
        entry = ExoEntry(name=START, kind="start", temperature=temperatures[0])
        first = self.opponents[temperatures[0]][START]
        self.shared.insert(0, Measured(entry, first, self.start))

    def branch(self, branch: Branch, policy: Artifact) -> list[Measured]:
        """Evaluate every snapshot of a trained branch.

        Args:
            branch: How it was trained.
            policy: What the training left.
        """
        count = self.config.training.snapshots
        if branch.training is not None:
            count = branch.training.snapshots
        label = branch.label(self.config.temperature)
        few = self.config.evaluation.snapshot_prompts
        found = []
        for number in range(1, count + 1):
            is_last = number == count
            model = policy if is_last else policy.part(f"snapshots/{number}")
            name = label if is_last else f"{label} {number}/{count}"
            evaluation = self.checkpoint(name, model, branch.temperature, None if is_last else few)
            step = round(policy.metrics.get("steps", 0) * number / count)
            entry = _entry(branch, name, self.config.supervision, step, is_last=is_last)
            found.append(Measured(entry, evaluation, model))
        return found

    def checkpoint(
        self, name: str, policy: Artifact, temperature: float, most: int | None
    ) -> Artifact:
        """Sample a policy on the test prompts, score the samples, and evaluate it.

        Args:
            name: What people call it.
            policy: Model folder.
            temperature: τ.
            most: Only the first so many prompts; None for the configured number.
        """
        evaluation = self.config.evaluation
        draws = self.config.draws(temperature, evaluation.samples)
        rollout = self.config.rollout(draws, most or evaluation.prompts)
        responses = sample_responses(
            policy, self.test, config=rollout, seed=self.config.seed, label=name
        )
        return self.weigh(name, policy, responses, temperature)

    def best_of_n(self, branch: Branch, scored: Artifact) -> list[Measured]:
        """Evaluate the best of N samples of the start.

        Args:
            branch: N and τ.
            scored: Samples of the start on the test prompts, scored by what picks.
        """
        assert branch.responses is not None, "N has a default"
        name = branch.label(self.config.temperature)
        picks = BestOfN(n=branch.responses, most=self.config.evaluation.samples)
        picked = pick_best_of_n(scored, config=picks, label=name)
        evaluation = self.weigh(name, None, picked, branch.temperature)
        entry = _entry(branch, name, self.config.supervision, 0, is_last=True)
        return [Measured(entry, evaluation, None)]

    def weigh(
        self, name: str, policy: Artifact | None, responses: Artifact, temperature: float
    ) -> Artifact:
        """Score responses by every judge and evaluate whoever wrote them.

        Args:
            name: What people call it.
            policy: Who wrote them, for the KL; None for nobody here.
            responses: Folder of groups.
            temperature: τ.
        """
        config = self.config
        scores = {
            judge: score_responses(
                model, responses, config=config.scoring(), label=f"{name} by {judge}"
            )
            for judge, model in self.judges.items()
        }
        return evaluate_policy(
            scores,
            policy,
            self.start if policy else None,
            responses if policy else None,
            oracle_artifact(config.data) if config.data else None,
            self.opponents.get(temperature, {}),
            config=PolicyEvaluation(
                limits=config.limits,
                template=config.model.template,
                chosen=name == CHOSEN,
                examples=config.evaluation.examples,
                bootstrap_samples=config.evaluation.bootstrap_samples,
                temperature=temperature,
            ),
            seed=config.seed,
            label=name,
        )


def _entry(branch: Branch, name: str, supervision: str, step: int, *, is_last: bool) -> ExoEntry:
    """Return how the report lists a checkpoint of a branch."""
    return ExoEntry(
        name=name,
        kind="policy" if branch.traits.trains else "best_of_n",
        method=branch.method,
        supervision=supervision,
        coefficients={key: value for key, value in branch.coefficients.items() if key != RESPONSES},
        responses=branch.responses,
        temperature=branch.temperature,
        seed=branch.seed,
        step=step,
        is_last=is_last,
    )


def judge_champion(policy: Artifact, config: ExoConfig, basis: Mapping[str, Artifact]) -> Artifact:
    """Measure a champion as the candidate was measured: same prompts, same draws, same judges.

    Args:
        policy: The champion's.
        config: Of the run that made the candidate.
        basis: What that run offered with its models.
    """
    world = oracle_artifact(config.data) if config.data else None
    known = {ORACLE: basis.get(ORACLE, world), RM: basis.get(RM)}
    judges = {name: judge for name, judge in known.items() if judge is not None}
    measures = Measures(config, basis["start"], basis["test"], judges)
    return measures.checkpoint(CHAMPION, policy, config.temperature, None)
