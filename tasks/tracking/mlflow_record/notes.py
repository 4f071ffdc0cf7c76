"""The description of a run: what it read and who made that, what came out and who used it.

It is written from the run's own tags alone, so that whoever adds one can write it anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tasks.tracking.mlflow_record.cursor import Cursor
from tasks.tracking.mlflow_record.links import run_address
from tasks.tracking.mlflow_record.registry_client import RegistryClient
from tasks.tracking.mlflow_record.tags import (
    FROM_TAG,
    HEADLINE_TAG,
    INPUT_TAG,
    MODEL_TAG,
    NOTE_TAG,
    OUTPUT_TAG,
    RESULT_TAG,
    RUN_TAG,
    STAGE_TAG,
    USER_TAG,
    Page,
    where,
)

_MOST_LISTED = 40
_LONGEST = 7900
_PREFECT_TAG = "sparring.prefect.url"


def stage_note(tags: Mapping[str, str]) -> str:
    """Write the description of a stage's run from its tags, as markdown."""
    lines = [f"Stage `{tags.get(STAGE_TAG, '')[:16]}` of the flow run `{tags.get(RUN_TAG, '')}`."]
    inputs = [_input_line(name, digest, tags) for name, digest in _tagged(tags, INPUT_TAG)]
    lines += _section("Inputs", inputs)
    if digest := tags.get(OUTPUT_TAG):
        model = Page.read(tags.get(MODEL_TAG, ""))
        shown = f" – the model {model.markdown}" if model else ""
        lines += _section("Output", [f"`{digest}`{shown}"])
    users = [page.markdown for _, text in _tagged(tags, USER_TAG) if (page := Page.read(text))]
    lines += _section("Used by", sorted(users))
    return "\n".join(lines)[:_LONGEST]


def flow_note(
    tags: Mapping[str, str], stages: Mapping[str, Page], skipped: Mapping[str, Page | str]
) -> str:
    """Write the description of a flow's run: the stages that ran in it and those done before."""
    lines = [f"Flow run `{tags.get(RUN_TAG, '')}`."]
    if headline := tags.get(HEADLINE_TAG):
        lines += ["", headline]
    if url := tags.get(_PREFECT_TAG):
        lines += ["", f"[Its page in Prefect]({url})"]
    result = [
        f"{role}: {page.markdown}"
        for role, text in _tagged(tags, RESULT_TAG)
        if (page := Page.read(text))
    ]
    lines += _section("Result", result)
    lines += _section("Stages that ran", [page.markdown for page in stages.values()])
    done = [page.markdown if isinstance(page, Page) else page for page in skipped.values()]
    lines += _section("Done before", done)
    return "\n".join(lines)[:_LONGEST]


def write_flow_note(registry: RegistryClient, run: str, cursor: Cursor) -> None:
    """Write the description of a flow's run: its stages, and where the skipped ones ran."""
    tags = registry.client.get_run(run).data.tags
    found = registry.client.search_runs(
        [cursor.experiment], where({RUN_TAG: tags[RUN_TAG]}), order_by=["attributes.start_time"]
    )
    ran = {
        item.data.tags[STAGE_TAG]: Page(
            item.info.run_name, run_address(item.info.experiment_id, item.info.run_id)
        )
        for item in found
        if item.data.tags.get(STAGE_TAG)
    }
    before: dict[str, Page | str] = {}
    for stage, title in cursor.skipped.items():
        if stage not in ran:
            maker = registry.maker(stage)
            before[stage] = Page(title, maker.address) if maker else title
    registry.client.set_tag(run, NOTE_TAG, flow_note(tags, ran, before))


def add_to_note(registry: RegistryClient, run: str, added: Mapping[str, str]) -> None:
    """Add tags to a stage's run and write its description anew.

    Another process may do the same now. Each looks again after it wrote, so that the last one has
    seen all tags.
    """
    from mlflow.entities import RunTag

    client = registry.client
    tags = {**(registry.tags.get(run) or client.get_run(run).data.tags), **added}
    while True:
        note = stage_note(tags)
        pairs = {**added, NOTE_TAG: note}
        client.log_batch(run, tags=[RunTag(name, value) for name, value in pairs.items()])
        registry.tags[run] = tags = client.get_run(run).data.tags
        if stage_note(tags) == note:
            return


def _input_line(role: str, digest: str, tags: Mapping[str, str]) -> str:
    """Describe one input."""
    maker = Page.read(tags.get(f"{FROM_TAG}{role}", ""))
    return f"{role}: `{digest}`" + (f" ← {maker.markdown}" if maker else "")


def _tagged(tags: Mapping[str, str], prefix: str) -> Iterator[tuple[str, str]]:
    """Yield what follows a prefix with its value, in order."""
    for name in sorted(tags):
        if name.startswith(prefix):
            yield name.removeprefix(prefix), tags[name]


def _section(title: str, lines: list[str]) -> list[str]:
    """Return a list with a title; nothing for an empty one."""
    if not lines:
        return []
    more = len(lines) - _MOST_LISTED
    shown = [f"- {line}" for line in lines[:_MOST_LISTED]] + ([f"- and {more} more"] * (more > 0))
    return ["", f"**{title}**", "", *shown]
