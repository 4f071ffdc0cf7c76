"""Step 1: read the user's data, clean it, split it and prove the splits disjoint."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.data.prepare import DataConfig, prepare
from tasks.models.tokens.own_template import template_check
from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace


@stage_task(version=6, resources="cpu")
def prepare_data(
    sources: list[Artifact],
    templates: Sequence[Artifact] = (),
    *,
    config: DataConfig,
    workspace: Workspace,
    log: Log,
) -> dict[str, float]:
    """Write the splits of the Protocol as folders of groups.

    Args:
        sources: The files that `config` names; they are here so that their content is in the key.
        templates: Files with the chat templates of models from elsewhere; a record that one of
            them refuses counts as unreadable.
        config: Sources, split and limits.
        workspace: `output/` receives `rm_train`, `policy_train`, `dev`, `test`, `demonstrations`,
            `rm_queries`, `policy_prompts`, `extra` and `table1.json`.
        log: Where progress and counts go.

    Returns:
        Number of groups per split.

    Raises:
        ConfigError: A source cannot be read, or the splits share prompts.
        RecordError: Too many records cannot be read.
    """
    check = template_check([file.path for file in templates]) if templates else None
    return prepare(config, workspace.output, log, check)
