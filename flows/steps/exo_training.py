"""Steps 5 to 7 of the flow `exo`: what the branches share, and the update of each one's policy."""

from __future__ import annotations

from typing import NamedTuple

from flows.configs.branches.exo_sweep import Branch
from flows.configs.exo import ExoConfig
from flows.placement.local_workers import LocalWorkers
from flows.steps.exo_inputs import SharedInputs
from flows.steps.exo_reward import Supervision
from flows.steps.ppo_search import tune_ppo
from flows.steps.tqr_starts import require_settings
from tasks.compute_reference_logps import compute_reference_logps
from tasks.sample_responses import sample_responses
from tasks.score_responses import score_responses
from tasks.stages.artifact import Artifact
from tasks.training.config import ReferenceConfig
from tasks.training.methods.method import TqrMethod
from tasks.training.ppo.config import PpoConfig
from tasks.update_policy import update_policy
from tasks.update_policy_by_ppo import update_policy_by_ppo
from tasks.update_tqr import update_tqr


class _Pass(NamedTuple):
    """One pass of π_sft over responses that several branches may learn from."""

    groups: tuple[Artifact, ...]
    config: ReferenceConfig


class ScoredSamples(NamedTuple):
    """Samples of the start with their rewards, by τ; as many per prompt as one branch wants."""

    train: dict[float, Artifact]
    """D_rw, on the training prompts."""
    test: dict[float, Artifact]
    """On the test prompts, which best-of-N picks from."""


def sample_and_score(
    config: ExoConfig, inputs: SharedInputs, supervision: Supervision
) -> ScoredSamples:
    """Steps 5 and 6: sample the start where a branch learns from samples, and score them."""
    branches = config.all_branches()

    def scored(
        wanted: list[Branch], part: str, prompts: Artifact, most: int | None
    ) -> dict[float, Artifact]:
        found = {}
        for tau in dict.fromkeys(branch.temperature for branch in wanted):
            same = [branch for branch in wanted if branch.temperature == tau]
            count = max(branch.responses or config.sampling.samples for branch in same)
            label = f"{part} τ{tau:g} K{count}"
            draws = config.draws(tau, count)
            if part == "test":
                draws = config.evaluation.judged(draws)
            samples = sample_responses(
                inputs.start,
                prompts,
                config=config.rollout(draws, most),
                seed=config.seed,
                label=label,
            )
            assert supervision.reward_source is not None, "refused without one"
            found[tau] = score_responses(
                supervision.reward_source, samples, config=config.scoring(), label=label
            )
        return found

    groupwise = [branch for branch in branches if branch.is_on_samples]
    picking = [branch for branch in branches if not branch.traits.trains]
    return ScoredSamples(
        scored(groupwise, "train", inputs.train, config.max_queries),
        scored(picking, "test", inputs.test, config.evaluation.prompts),
    )


class BranchTrainer:
    """Updates the start's policy by one branch after the other."""

    def __init__(
        self,
        config: ExoConfig,
        inputs: SharedInputs,
        supervision: Supervision,
        samples: ScoredSamples,
        workers: LocalWorkers,
    ) -> None:
        """Make what branches share: PPO's settings, and what π_sft gives the responses."""
        self._config, self._inputs, self._supervision = config, inputs, supervision
        self._samples, branches = samples, config.all_branches()
        for branch in branches:
            if isinstance(branch.traits, TqrMethod):
                require_settings(inputs.start, config.tqr_update(branch).tqr, "`tqr`")
        self._tuned: PpoConfig | None = None
        if any(branch.traits.is_online for branch in branches):
            self._tuned = tune_ppo(config, inputs, supervision.reward_source, workers)
        compared = [branch for branch in branches if branch.traits.needs_reference]
        passes = dict.fromkeys(self._pass(one) for one in compared)
        self._logps = dict(zip(passes, workers.map(passes, self._reference_logps), strict=True))

    def update_policy(self, branch: Branch) -> Artifact:
        """Step 7: update the policy of a branch that trains, or reinforce it."""
        config, start = self._config, self._inputs.start
        label = branch.label(config.temperature)
        if branch.traits.is_online:
            reward_source = self._supervision.reward_source
            assert reward_source is not None, "the configuration was refused without one"
            return update_policy_by_ppo(
                start,
                reward_source,
                self._inputs.train,
                start,
                config=config.ppo_of(branch.temperature, self._tuned, branch.settings()),
                seed=branch.seed,
                label=label,
            )
        if isinstance(branch.traits, TqrMethod):
            return update_tqr(
                start,
                list(self._groups(branch)),
                config=config.tqr_update(branch),
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

    def _groups(self, branch: Branch) -> tuple[Artifact, ...]:
        """Return what a branch learns from."""
        if branch.is_on_samples:
            return (self._samples.train[branch.temperature],)
        return tuple(self._supervision.preferences)

    def _pass(self, branch: Branch) -> _Pass:
        """Return the reference pass that a branch needs."""
        update = branch.update(self._config.shared_update())
        return _Pass(self._groups(branch), update.reference_pass())

    def _reference_logps(self, one: _Pass) -> Artifact:
        """Compute what π_sft gives the responses."""
        count = f" K{one.config.responses}" if one.config.responses else ""
        return compute_reference_logps(
            self._inputs.start,
            list(one.groups),
            config=one.config,
            label=f"π_sft {'samples' if count else 'pairs'}{count} τ{one.config.temperature:g}",
        )
