"""Somebody is told when it matters, through a notification block of the Prefect server.

Runs tell what they know themselves. That a run is late, or that its process died, an automation on
the server tells, which `sparring deploy` makes. Whatever is wrong with a block, no run stops.
"""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from flows.configs.recurring import NotifyConfig, NotifyEvent
from tasks.settings.errors import ConfigError
from tasks.stages.runs.context import current_run


def tell(notify: NotifyConfig | None, event: NotifyEvent, subject: str, text: str = "") -> None:
    """Tell whoever wants to know of an event; a block that fails is said, and no more.

    Args:
        notify: Who wants to know of what; None: nobody.
        event: What happened.
        subject: What happened, in a sentence.
        text: What to do, or more of it; by default the subject once more.
    """
    if notify is None or event not in notify.events:
        return
    try:
        _block(notify.block).notify(text or subject, subject=f"sparring: {subject}")
    except Exception as error:  # its text may have the block's address, which may be a secret
        where = f"{type(error).__name__} at the block {notify.block}"
        current_run().progress.note("notify", f"nobody was told that {subject}: {where}")


@contextmanager
def telling_failure(flow: str, notify: NotifyConfig | None) -> Iterator[None]:
    """Tell of an error that ends the block; who interrupts a run knows of it."""
    try:
        yield
    except Exception as error:
        first = str(error).partition("\n")[0] or type(error).__name__
        tell(notify, "failed", f"a run of {flow} failed", first)
        raise


def tell_of_disk(notify: NotifyConfig | None, folder: Path) -> None:
    """Tell if the disk of a folder is nearly full."""
    if notify is None:
        return
    free = shutil.disk_usage(folder).free / 1e9
    if free < notify.free_gigabytes:
        text = f"{folder} has {free:.1f} GB left: `sparring gc` shows what may go"
        tell(notify, "disk_low", "the disk is nearly full", text)


def ensure_late_automation(
    client: SyncPrefectClient, deployment: UUID, name: str, notify: NotifyConfig | None
) -> None:
    """Let the server tell of late and dead runs of a deployment, or no longer.

    Args:
        client: Of the server.
        deployment: Prefect's id of the deployment.
        name: Its name, `FLOW/NAME`.
        notify: Who is told of what.

    Raises:
        ConfigError: There is no such block.
    """
    wanted = None
    if notify is not None:
        found = require_block(client, notify.block)
        wanted = _automation(found, deployment, name) if "late" in notify.events else None
    known = client.read_automations_by_name(_title(name))
    for one in known[1:] if wanted else known:
        client.delete_automation(one.id)
    if wanted and known:
        # Whoever switched it off keeps it off.
        as_is = wanted.model_copy(update={"enabled": known[0].enabled})
        client.update_automation(known[0].id, as_is)
    elif wanted:
        client.create_automation(wanted)


def require_block(client: SyncPrefectClient, slug: str) -> UUID:
    """Return the id of a block on the server.

    Raises:
        ConfigError: There is none of this type and name.
    """
    kind, _, name = slug.partition("/")
    if kind not in (known := _types()):
        raise ConfigError(
            f"notify.block is {slug!r}, and {kind} sends no notifications: use a block of one of "
            f"the types {', '.join(sorted(known))}"
        )
    with suppress(ObjectNotFound):
        for document in client.read_block_documents_by_type(kind, include_secrets=False):
            if document.name == name:
                return document.id
    raise ConfigError(
        f"notify.block is {slug!r}, and the Prefect server has no such block: make one on the "
        "server's page (Blocks), then deploy again"
    )


def _types() -> set[str]:
    """Return the types of blocks that send notifications, as Prefect names them in addresses."""
    import prefect.blocks.notifications  # noqa: F401  (their classes are found by type)

    found, left = set(), list(NotificationBlock.__subclasses__())
    while left:
        kind = left.pop()
        left += kind.__subclasses__()
        if not inspect.isabstract(kind):
            found.add(kind.get_block_type_slug())
    return found


def _block(slug: str) -> Any:
    """Return a block of the server that is used now.

    Raises:
        ValueError: There is none of this name.
        TypeError: It is one that sends nothing.
    """
    import prefect.blocks.notifications  # noqa: F401  (their classes are found by type)

    block: Any = Block.load(slug)
    if not isinstance(block, NotificationBlock):
        raise TypeError(f"{slug} is no notification block")
    return block


def _title(name: str) -> str:
    return f"sparring: {name} is late or died"


def _automation(block: UUID, deployment: UUID, name: str) -> AutomationCore:
    """Return the automation as it should be."""
    return AutomationCore(
        name=_title(name),
        description="Made by `sparring deploy` from `notify` of the configuration.",
        trigger=EventTrigger(
            expect={"prefect.flow-run.Late", "prefect.flow-run.Crashed"},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related={
                "prefect.resource.role": "deployment",
                "prefect.resource.id": f"prefect.deployment.{deployment}",
            },
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[
            SendNotification(
                block_document_id=block,
                subject=f"sparring: a run of {name} is {{{{ flow_run.state.name }}}}",
                body="{{ flow_run.name }}, due {{ flow_run.expected_start_time }}: "
                "{{ flow_run.state.message or 'does a worker of its pool run?' }}",
            )
        ],
    )
