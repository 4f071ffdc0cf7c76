"""Step 8 of the flow `ava`: what the run offers, and what the report is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flows.configs.ava import TESTER, AvaConfig
from flows.steps.ava.arm_evaluation import ArmEvaluation
from flows.steps.ava.evaluated_arms import Evaluated, EvaluatedArm
from flows.steps.ava.inputs import AvaInputs
from tasks.evaluation.ava.config import AvaReportConfig
from tasks.stages.artifact import Artifact
from tasks.stages.runs.context import Offer
from tasks.write_ava_report import write_ava_report


def report(
    config: AvaConfig,
    inputs: AvaInputs,
    evaluation: ArmEvaluation,
    arms: Sequence[EvaluatedArm],
) -> Artifact:
    """Write the report of all that was measured."""
    policies = [*evaluation.references, *(one for arm in arms for one in arm.policies)]
    snapshots = [one for arm in arms for one in arm.snapshots]
    rewards = [arm.reward for arm in arms if arm.reward]
    return write_ava_report(
        {one.entry.name: one.evaluation for one in (*policies, *snapshots)},
        _there({TESTER: evaluation.tester}) | {one.entry.name: one.evaluation for one in rewards},
        {one.entry.name: one.diagnosis for one in rewards if one.diagnosis},
        evaluation.judged | {one.entry.name: one.scored for one in rewards if one.scored},
        inputs.examination,
        evaluation.judge_policies(policies),
        config=AvaReportConfig(
            entries=tuple(one.entry for one in policies),
            snapshots=tuple(one.entry for one in snapshots),
            rewards=tuple(one.entry for one in rewards),
            judges=config.judges(),
            testers=(TESTER,) if evaluation.tester else (),
            facts=_facts(config),
            examples=config.evaluation.examples,
        ),
    )


def offer_best(
    config: AvaConfig,
    inputs: AvaInputs,
    evaluation: ArmEvaluation,
    arms: Sequence[EvaluatedArm],
) -> Offer | None:
    """Return the best policy with what the gate needs to judge it; None where none was trained.

    The best has the highest reward by the first judge. Its reward model is the one that trained it;
    of a policy that learnt without one it is the testing one, which the gate measures it by, if
    there is any.
    """
    score, found = f"score/{config.judges()[0]}", _policies(arms)
    if not found:
        return None
    best, arm = max(found, key=lambda one: one[0].evaluation.metrics.get(score, 0.0))
    assert best.policy is not None, "best-of-N is no model"
    model, measured = inputs.testers.get(TESTER), evaluation.tester
    if arm.reward:
        model, measured = arm.reward.model, arm.reward.evaluation
    basis = {
        "test": inputs.test,
        "start": inputs.start,
        TESTER: inputs.testers.get(TESTER),
        "start evaluation": evaluation.references[0].evaluation,
        "policy evaluation": best.evaluation,
        "reward model evaluation": measured,
        f"{TESTER} evaluation": evaluation.tester,
    }
    models = _there({"policy": best.policy, "reward_model": model})
    return Offer(models, _there(basis), config.model_dump(mode="json"))


def _there(named: Mapping[str, Artifact | None]) -> dict[str, Artifact]:
    return {name: one for name, one in named.items() if one is not None}


def _policies(arms: Sequence[EvaluatedArm]) -> list[tuple[Evaluated, EvaluatedArm]]:
    return [(one, arm) for arm in arms for one in arm.policies if one.policy is not None]


def _facts(config: AvaConfig) -> dict[str, str]:
    facts = {"start": "after SFT" if config.continue_from == "sft" else "the base policy"}
    facts["score of AVA's reward models"] = config.tqr.score
    weights = config.ava
    facts["weights"] = (
        f"γ {weights.gamma:g}, λ {weights.lam:g}, c_KL {weights.c_kl:g}, α {config.tqr.alpha:g}, "
        f"β {config.tqr.beta:g}"
    )
    if any(cell.data == "afd" for cell in config.cells()):
        facts["AfD pairs"] = config.afd_pairing
    return facts | {"seed": str(config.seed)}
