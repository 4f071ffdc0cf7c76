"""Reads a file of the user's, prompts or answers to them, as a folder of groups."""

from __future__ import annotations

from tasks.data.bad_records import BadRecords
from tasks.data.files import write_groups
from tasks.data.sources.config import SourceConfig
from tasks.data.sources.reader import read_source
from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace


@stage_task(version=1, resources="cpu")
def import_groups(
    file: Artifact, *, config: SourceConfig, workspace: Workspace, log: Log
) -> dict[str, float]:
    """Write the records of a file as groups, in its order.

    Args:
        file: The file that `config` names; it is here so that its content is in the key.
        config: Where it is, its form and its columns.
        workspace: `output/` receives the groups.
        log: Told of records that cannot be read.

    Returns:
        `groups` and `bad_records`, both counts.

    Raises:
        ConfigError: Nothing in it has a known form.
        RecordError: Too many records cannot be read.
    """
    bad = BadRecords()
    try:
        count = write_groups(workspace.output, read_source(config, bad.add))
    finally:
        bad.say(log)
    return {"groups": float(count), "bad_records": float(bad.count)}
