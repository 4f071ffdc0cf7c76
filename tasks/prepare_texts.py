"""Step 1, for plain texts: a corpus, labelled texts, and texts whose beginnings become prompts."""

from __future__ import annotations

from tasks.data.text_config import TextsConfig
from tasks.data.texts import prepare_texts as prepare
from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace


@stage_task(version=2, resources="cpu")
def prepare_texts(
    sources: list[Artifact], *, config: TextsConfig, workspace: Workspace, log: Log
) -> dict[str, float]:
    """Write plain texts as folders of groups with an empty prompt and one response.

    Args:
        sources: The files that `config` names; they are here so that their content is in the key.
        config: Sources by part, and the length of a piece.
        workspace: `output/` receives `corpus` (pieces), `prompts` and `test_prompts` (whole
            texts), `labelled` and `held_out` (whole texts whose score is the label).
        log: Where notes go.

    Returns:
        Groups per part, and under `dropped/…` and `bad_records` what was left out.

    Raises:
        ConfigError: A source does not exist, or a part that was asked for stays empty.
        RecordError: Too many records cannot be read.
    """
    return prepare(config, workspace.output, log)
