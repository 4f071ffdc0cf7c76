"""Step 1: what of the data the models will not see – left out, cut, or without an end."""

from __future__ import annotations

from tasks.models.tokens.examination import ExaminationConfig, examine
from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace


@stage_task(version=2, resources="cpu")
def examine_data(
    counts: Artifact,
    parts: dict[str, Artifact],
    model: Artifact,
    *,
    config: ExaminationConfig,
    workspace: Workspace,
    log: Log,
) -> dict[str, float]:
    """Encode the prepared data as training will, before anything is trained, and say what is lost.

    Args:
        counts: table1.json of the prepared data.
        parts: Folders of groups by name.
        model: The base policy, whose tokenizer counts.
        config: Chat template, and the limits of every part.
        workspace: `output/` receives examination.json.
        log: Where progress and the sentence go.

    Returns:
        `read` and `left_out`, both records; `truncated_prompts` and `responses_without_eos`,
        shares; `longest_prompt` in tokens.

    Raises:
        ConfigError: The data write what the chat template writes before a response.
    """
    folders = {name: part.path for name, part in parts.items()}
    return examine(counts.path, folders, model.path, config, workspace.output, log)
