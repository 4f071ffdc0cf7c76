"""Step 8 of the flow `exo`: every snapshot by one set of samples, against start and chosen.

It only orders stages; the metrics are computed in `tasks/evaluation`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flows.configs.branches.exo_sweep import Branch
from flows.configs.exo import ExoConfig
from flows.configs.exo_evaluation import ORACLE, RM
from flows.steps.evaluation import CHOSEN, START, EvaluatedPolicy, PolicyEvaluator
from flows.steps.exo_inputs import SharedInputs
from flows.steps.inputs import oracle_artifact
from flows.steps.tqr_starts import tqr_of
from tasks.evaluation.config import BestOfN
from tasks.evaluation.exo.config import ExoEntry
from tasks.models.sample_shards import RolloutConfig
from tasks.pick_best_of_n import pick_best_of_n
from tasks.stages.artifact import Artifact
from tasks.stages.runs.aliases import CHAMPION
from tasks.training.methods.method import RESPONSES

Evaluated = EvaluatedPolicy[ExoEntry]


class SweepEvaluation:
    """Evaluates the checkpoints of the sweep, and first of all what they are compared with.

    Attributes:
        references: The start, and the chosen responses where there are any.
        opponents: Evaluations of these by name, for each τ of the sweep.
    """

    def __init__(
        self, config: ExoConfig, inputs: SharedInputs, judges: Mapping[str, Artifact]
    ) -> None:
        """Evaluate the start at each τ, and the chosen responses where there are any."""
        self._config = config
        world = oracle_artifact(config.data)
        self._evaluator = PolicyEvaluator(config, inputs.start, inputs.test, judges, world)
        self.references: list[Evaluated] = []
        self.opponents: dict[float, dict[str, Artifact]] = {}
        chosen = {}
        if config.data is not None:
            chosen[CHOSEN] = self._evaluator.evaluate_responses(
                CHOSEN, inputs.test, {}, temperature=config.temperature
            )
            entry = ExoEntry(name=CHOSEN, kind="chosen")
            self.references.append(EvaluatedPolicy(entry, chosen[CHOSEN], None))
        for tau in config.temperatures():
            is_own = tau == config.temperature
            evaluation = self._evaluator.evaluate_policy(
                self._start(tau), inputs.start, *_rollouts(config, tau), {}
            )
            self.opponents[tau] = {START: evaluation, **chosen}
            if is_own:
                entry = ExoEntry(name=START, kind="start", temperature=tau)
                self.references.insert(0, EvaluatedPolicy(entry, evaluation, inputs.start))

    def evaluate_snapshots(self, branch: Branch, policy: Artifact) -> list[Evaluated]:
        """Evaluate every snapshot of the policy that a branch was trained to."""
        training = branch.training or self._config.training
        label, count = branch.label(self._config.temperature), training.snapshots
        found = []
        for number in range(1, count + 1):
            is_last = number == count
            model = policy if is_last else policy.part(f"snapshots/{number}")
            name = label if is_last else f"{label} {number}/{count}"
            most = None if is_last else self._config.evaluation.snapshot_prompts
            rollouts = _rollouts(self._config, branch.temperature, most)
            evaluation = self._evaluator.evaluate_policy(
                name, model, *rollouts, self.opponents[branch.temperature]
            )
            step = round(policy.metrics.get("steps", 0) * number / count)
            entry = self._entry(branch, name, step, is_last=is_last)
            found.append(EvaluatedPolicy(entry, evaluation, model))
        return found

    def evaluate_best_of_n(self, branch: Branch, scored: Artifact) -> list[Evaluated]:
        """Evaluate the best of N test samples of the start, which what picks has scored."""
        assert branch.responses is not None, "N has a default"
        name = branch.label(self._config.temperature)
        picks = BestOfN(n=branch.responses, most=self._config.evaluation.samples)
        picked = pick_best_of_n(scored, config=picks, label=name)
        opponents, tau = self.opponents[branch.temperature], branch.temperature
        evaluation = self._evaluator.evaluate_responses(name, picked, opponents, temperature=tau)
        return [EvaluatedPolicy(self._entry(branch, name, 0, is_last=True), evaluation, None)]

    def judge_last(self, evaluated: Sequence[Evaluated]) -> dict[str, Artifact]:
        """Let the judge compare each branch's last policy with the start at its τ and the chosen.

        That is EXO's Tables 1 and 2, whose win rates are against SFT and the chosen responses.
        """
        return self._evaluator.judge_matches(
            (one.entry.name, other if other == CHOSEN else self._start(one.entry.temperature))
            for one in evaluated
            if one.entry.is_last
            for other in self.opponents[one.entry.temperature]
        )

    def _start(self, tau: float) -> str:
        """Return what the start is called at a τ."""
        return START if tau == self._config.temperature else f"{START} τ{tau:g}"

    def _entry(self, branch: Branch, name: str, step: int, *, is_last: bool) -> ExoEntry:
        """Return how the report lists a checkpoint of a branch."""
        coefficients = {key: one for key, one in branch.coefficients.items() if key != RESPONSES}
        return ExoEntry(
            name=name,
            kind="policy" if branch.traits.trains else "best_of_n",
            method=branch.method,
            supervision=self._config.supervision,
            coefficients=coefficients,
            responses=branch.responses,
            temperature=branch.temperature,
            seed=branch.seed,
            step=step,
            is_last=is_last,
        )


def judge_champion(
    policy: Artifact, config: ExoConfig, basis: Mapping[str, Artifact], name: str = CHAMPION
) -> Artifact:
    """Evaluate a champion as the candidate was evaluated: same prompts, same draws, same judges.

    The config is that of the candidate's run, the basis what this run offered with its models.
    """
    world = oracle_artifact(config.data)
    known = {ORACLE: basis.get(ORACLE, world), RM: basis.get(RM)}
    judges = {name: judge for name, judge in known.items() if judge is not None}
    # A record names whole outputs of stages.
    test = basis["test"].part("test")
    evaluator = PolicyEvaluator(config, basis["start"], test, judges, world)
    own = tqr_of(policy)
    rollouts = _rollouts(config, own.temperature if own else config.temperature)
    return evaluator.evaluate_policy(name, policy, *rollouts, {})


def _rollouts(
    config: ExoConfig, temperature: float, prompts: int | None = None
) -> tuple[RolloutConfig, RolloutConfig]:
    """Return how the answers are drawn that judges score, and those that estimate the KL."""
    return (
        config.test_rollout(temperature, prompts),
        config.test_rollout(temperature, prompts, for_kl=True),
    )
