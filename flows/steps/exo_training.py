"""Steps 5 to 7 of the flow `exo`: what the branches share, and the update of each one's policy."""

from __future__ import annotations

from typing import NamedTuple

from flows.configs.exo import ExoConfig
from flows.configs.exo_sweep import Branch
from flows.placement.local_workers import LocalWorkers
from flows.steps.exo_start import Stock
from flows.steps.ppo_search import tune_ppo
from tasks.compute_reference_logps import compute_reference_logps
from tasks.sample_responses import sample_responses
from tasks.score_responses import score_responses
from tasks.stages.artifact import Artifact
from tasks.training.config import ReferenceConfig
from tasks.training.ppo.config import PpoConfig
from tasks.update_policy import update_policy
from tasks.update_policy_by_ppo import update_policy_by_ppo


class Lessons(NamedTuple):
    """What the branches learn from."""

    preferences: list[Artifact]
    """D_pref."""
    reward_model: Artifact | None
    """Estimated from D_pref; None where the oracle is the reward."""
    weighed: dict[str, Artifact]
    """Evaluations of the reward model."""
    rewarder: Artifact | None
    """What scores samples: the reward model or the oracle; None with preferences alone."""


class _Pass(NamedTuple):
    """One pass of π_sft over responses that several branches may learn from."""

    groups: tuple[Artifact, ...]
    """The responses."""
    config: ReferenceConfig
    """What decides its figures."""


class Trainings:
    """Aligns the start by one branch after the other; what branches share is made once, before."""

    def __init__(
        self,
        config: ExoConfig,
        stock: Stock,
        lessons: Lessons,
        branches: list[Branch],
        workers: LocalWorkers,
    ) -> None:
        """Make what the branches share.

        Args:
            config: The run's settings.
            stock: Prompts and start.
            lessons: Pairs, and who rewards.
            branches: All that will be trained.
            workers: Where independent stages run.
        """
        self._config, self._stock, self._lessons = config, stock, lessons
        self._samples = self._rewarded(
            [branch for branch in branches if branch.is_on_samples], stock.train
        )
        self.pools = self._rewarded(
            [branch for branch in branches if not branch.traits.trains], stock.test
        )
        """Samples of the start on the test prompts with their rewards, by τ, for best-of-N."""
        self._tuned: PpoConfig | None = None
        if any(branch.traits.is_online for branch in branches):
            self._tuned = tune_ppo(config, stock, lessons.rewarder, workers)
        compared = [branch for branch in branches if branch.traits.needs_reference]
        passes = dict.fromkeys(self._pass(one) for one in compared)
        self._logps = dict(zip(passes, workers.map(passes, self._refer), strict=True))

    def align(self, branch: Branch) -> Artifact:
        """Step 7: update the policy, or reinforce it.

        Args:
            branch: One that trains.
        """
        config, start = self._config, self._stock.start
        label = branch.label(config.temperature)
        if branch.traits.is_online:
            assert self._lessons.rewarder is not None, "the configuration was refused without one"
            return update_policy_by_ppo(
                start,
                self._lessons.rewarder,
                self._stock.train,
                start,
                config=config.ppo_of(branch.temperature, self._tuned, branch.settings()),
                seed=branch.seed,
                label=label,
            )
        return update_policy(
            start,
            list(self._groups(branch)),
            self._logps[self._pass(branch)] if branch.traits.needs_reference else None,
            config=branch.update(config.shared_update()),
            seed=branch.seed,
            label=label,
        )

    def _rewarded(self, wanted: list[Branch], prompts: Artifact) -> dict[float, Artifact]:
        """Steps 5 and 6: samples of the start with their rewards, by τ; as many as one wants."""
        config, found = self._config, {}
        for tau in dict.fromkeys(branch.temperature for branch in wanted):
            counts = [
                branch.responses or config.sampling.samples
                for branch in wanted
                if branch.temperature == tau
            ]
            is_test = prompts is self._stock.test
            most = config.evaluation.prompts if is_test else config.max_queries
            label = f"{'test' if is_test else 'train'} τ{tau:g} K{max(counts)}"
            samples = sample_responses(
                self._stock.start,
                prompts,
                config=config.rollout(config.draws(tau, max(counts)), most),
                seed=config.seed,
                label=label,
            )
            assert self._lessons.rewarder is not None, "the configuration was refused without one"
            found[tau] = score_responses(
                self._lessons.rewarder, samples, config=config.scoring(), label=label
            )
        return found

    def _groups(self, branch: Branch) -> tuple[Artifact, ...]:
        """Return what a branch learns from."""
        if branch.is_on_samples:
            return (self._samples[branch.temperature],)
        return tuple(self._lessons.preferences)

    def _pass(self, branch: Branch) -> _Pass:
        """Return the reference pass that a branch needs."""
        update = branch.update(self._config.shared_update())
        return _Pass(self._groups(branch), update.reference_pass())

    def _refer(self, one: _Pass) -> Artifact:
        """Step 7, before the updates: what π_sft gives the responses."""
        count = f" K{one.config.responses}" if one.config.responses else ""
        return compute_reference_logps(
            self._stock.start,
            list(one.groups),
            config=one.config,
            label=f"π_sft {'samples' if count else 'pairs'}{count} τ{one.config.temperature:g}",
        )
