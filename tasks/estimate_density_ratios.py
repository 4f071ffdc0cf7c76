"""Step 9: density ratios of policies and their optima to the start (EXO, Figures 3 and 9)."""

from __future__ import annotations

from tasks.evaluation.exo.config import DensityConfig
from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace


@stage_task(version=4, resources="gpu")
def estimate_density_ratios(
    start: Artifact,
    policies: dict[str, Artifact],
    samples: Artifact,
    *,
    config: DensityConfig,
    workspace: Workspace,
    log: Log,
) -> dict[str, float]:
    """Weigh samples of the start by each policy and by the optimum that it aims at.

    Args:
        start: Model folder of the SFT start, which drew the samples.
        policies: Model folders by name.
        samples: Folder of groups: M untruncated samples of the start per prompt, with the rewards
            that define the optima.
        config: Temperature, β of each policy, prompts, kernel.
        workspace: `output/` receives `density.json`: per prompt the ratios over log start(y|x).
        log: Where progress goes.

    Returns:
        Per policy its distance from its optimum, nats: `<policy>/reverse_kl`, `forward_kl` and
        `density_kl`, and how many samples both are worth, `effective_samples` and
        `optimal_effective_samples`, means over prompts; and `prompts`.

    Raises:
        ConfigError: The samples are not scored, or a prompt has fewer than two.
    """
    from tasks.evaluation.exo.density import measure_density

    folders = {name: policy.path for name, policy in policies.items()}
    return measure_density(start.path, folders, samples.path, config, workspace.output, log)
