"""Ask people for gold: their answers to the reward-model queries, waited for until they came."""

from __future__ import annotations

from tasks.data.files import read_groups, write_groups
from tasks.gold.people.asking import ask
from tasks.gold.people.config import PeopleConfig
from tasks.gold.people.question import RESPONSE
from tasks.gold.people_provider import groups_of, questions_of
from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace


@stage_task(version=2, resources="people")
def ask_people(
    queries: Artifact, *, config: PeopleConfig, workspace: Workspace, log: Log
) -> dict[str, float]:
    """Collect people's answers to every query, or wait for them.

    Args:
        queries: Folder of groups whose prompts are answered.
        config: Who is asked, and where.
        workspace: `output/groups` receives a group per answered query, a response per person, and
            `output/submissions.jsonl` what people handed in.
        log: Where progress goes.

    Returns:
        `asked`, `complete`, `missing`, `answers`, `superseded` and `people`, all counts.

    Raises:
        Awaited: Too few have answered so far.
    """
    unique = list({query.id: query for query in read_groups(queries.path)}.values())
    key = workspace.path.parent.name
    found = ask("gold", RESPONSE, questions_of(unique), config, key, log)
    write_groups(workspace.output / "groups", groups_of(unique, found.used))
    found.write(workspace.output)
    return found.metrics()
