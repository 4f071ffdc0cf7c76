"""What deploying again would take away from a deployment that somebody else relies on."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule

from flows.configs.recurring import RecurringConfig, ScheduleConfig
from tasks.settings.errors import ConfigError
from tasks.settings.loading import validate
from tasks.stages.lineage.difference import value_changes

_MOST_LINES = 12


def find_losses(
    before: DeploymentResponse, config: RecurringConfig, *, named: bool, changes_schedule: bool
) -> list[str]:
    """Say what of a deployment would be gone, or changed without anybody having asked.

    Args:
        before: The deployment as it is registered.
        config: What is to be registered in its place.
        named: Whether the user named a configuration. A named one may change any value; the
            default one is no answer to what somebody had named before.
        changes_schedule: Whether the schedule was said in the command itself.

    Returns:
        A sentence each; empty if nothing is lost.
    """
    was, wanted = _registered(before, type(config)), config.model_dump(mode="json")
    losses = []
    if was is not None and not named:
        # The command's own words about the schedule are asked for.
        skipped = {"schedule"} if changes_schedule else set()
        theirs, ours = (
            {key: value for key, value in tree.items() if key not in skipped}
            for tree in (was, wanted)
        )
        lines = [str(change) for change in value_changes(theirs, ours, "")]
        losses += lines[:_MOST_LINES]
        if len(lines) > _MOST_LINES:
            losses.append(f"{len(lines) - _MOST_LINES} more values")
    if changes_schedule:
        return losses
    configured = (was or {}).get("schedule")
    for schedule in before.schedules:
        if config.schedule is None or not _is_configured(schedule, configured, config.schedule):
            losses.append(f"its schedule {_described(schedule)}")
    return losses


def _registered(before: DeploymentResponse, kind: type[RecurringConfig]) -> dict[str, Any] | None:
    """Return the whole configuration a deployment was registered with, with its defaults."""
    tree = before.parameters.get("config")
    if not isinstance(tree, dict):
        return None
    try:
        return validate(kind, tree, "config").model_dump(mode="json")
    except ConfigError:  # of an earlier release, which had other keys
        return tree


def _is_configured(
    schedule: DeploymentSchedule, before: dict[str, Any] | None, wanted: ScheduleConfig
) -> bool:
    """Return whether a schedule says what a configuration said, and not what a person set since."""
    found = schedule.schedule
    if not isinstance(found, CronSchedule):
        return False
    said = [(wanted.cron, wanted.counting_zone)]
    if before is not None:
        old = ScheduleConfig.model_validate(before)
        said.append((old.cron, old.counting_zone))
    return (found.cron, found.timezone) in said


def _described(schedule: DeploymentSchedule) -> str:
    found = schedule.schedule
    if isinstance(found, CronSchedule):
        return f"{found.cron} ({found.timezone or 'UTC'})"
    return found.model_dump_json(exclude_none=True)
