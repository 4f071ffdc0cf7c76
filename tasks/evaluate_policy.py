"""Step 8: measure a policy: testing reward models, oracle, KL, drift and win rates."""

from __future__ import annotations

from tasks.evaluation.config import PolicyEvaluation
from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace


@stage_task(version=9, resources="gpu")
def evaluate_policy(
    scores: dict[str, Artifact],
    policy: Artifact | None,
    reference: Artifact | None,
    kl_samples: Artifact | None,
    oracle: Artifact | None,
    opponents: dict[str, Artifact],
    *,
    config: PolicyEvaluation,
    seed: int,
    workspace: Workspace,
    log: Log,
) -> dict[str, float]:
    """Measure one contender on the test queries and against its opponents.

    Args:
        scores: The contender's responses as scored by each testing reward model, by name.
        policy: Model folder, for the KL; None for responses that no model here wrote.
        reference: The SFT start.
        kl_samples: Untruncated samples of the policy.
        oracle: world.json of the playground, where the data comes from there.
        opponents: Evaluations of other contenders, by name.
        config: Limits, template, bootstrap.
        seed: Of the bootstrap.
        workspace: `output/` receives `evaluation.json`, metrics per prompt included.
        log: Where progress goes.

    Returns:
        Average score, accuracy and spread per judge, win rates, KL, length and EOS share.
    """
    from tasks.evaluation.policy import PolicyUnderTest, measure_policy

    contender = PolicyUnderTest(
        scores={name: folder.path for name, folder in scores.items()},
        policy=policy.path if policy else None,
        reference=reference.path if reference else None,
        kl_samples=kl_samples.path if kl_samples else None,
        world=oracle.path if oracle else None,
    )
    others = {name: evaluation.path for name, evaluation in opponents.items()}
    return measure_policy(contender, others, config, seed, workspace.output, log)
