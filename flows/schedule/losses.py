"""What deploying again would take away from a deployment that somebody else relies on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
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
    before: DeploymentResponse, config: RecurringConfig, *, named: bool, said: Sequence[str]
) -> list[str]:
    """Say what of a deployment would be gone, or changed without anybody having asked.

    Args:
        before: The deployment as it is registered.
        config: What is to be registered in its place.
        named: Whether the user named a configuration. A named one may change any value; the
            default one is no answer to what somebody had named before.
        said: Keys of the schedule that were said in the command itself: cron, timezone.

    Returns:
        A sentence each; empty if nothing is lost.
    """
    was, wanted = _registered(before, type(config)), config.model_dump(mode="json")
    losses = []
    if was is not None and not named:
        # The command's own words about the schedule are asked for.
        skipped = {"schedule"} if said else set()
        theirs, ours = (
            {key: value for key, value in tree.items() if key not in skipped}
            for tree in (was, wanted)
        )
        lines = [str(change) for change in value_changes(theirs, ours, "")]
        losses += lines[:_MOST_LINES]
        if len(lines) > _MOST_LINES:
            losses.append(f"{len(lines) - _MOST_LINES} more values")
    configured = (was or {}).get("schedule")
    if named and (was or {}).get("notify") and config.notify is None:
        losses.append(f"notify: {(was or {})['notify']['block']} → nobody is told")
    if said and "schedule" not in said:
        losses += _lost_beside(configured or {}, config.schedule, said)
    for schedule in before.schedules:
        is_kept = config.schedule is not None or "schedule" in said
        if not (is_kept and _is_configured(schedule, configured, config.schedule)):
            losses.append(f"its schedule {_described(schedule)}")
    return losses


def _lost_beside(
    before: dict[str, Any], wanted: ScheduleConfig | None, said: Sequence[str]
) -> list[str]:
    """Say which values of a schedule would fall back to their defaults, though nobody said so."""
    if wanted is None:
        return []
    default = ScheduleConfig(cron=wanted.cron).model_dump(mode="json")
    now = wanted.model_dump(mode="json")
    return [
        str(change)
        for key, value in before.items()
        if key not in said and now.get(key) == default.get(key)
        for change in value_changes(value, now.get(key), f"schedule.{key}")
    ]


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
    schedule: DeploymentSchedule, before: dict[str, Any] | None, wanted: ScheduleConfig | None
) -> bool:
    """Return whether a schedule says what a configuration said, and not what a person set since."""
    found = schedule.schedule
    if not isinstance(found, CronSchedule):
        return False
    said = [wanted] if wanted else []
    with suppress(ValueError):  # of an earlier release, which had other keys
        said += [ScheduleConfig.model_validate(before)] if before else []
    return (found.cron, found.timezone) in [(one.cron, one.counting_zone) for one in said]


def _described(schedule: DeploymentSchedule) -> str:
    found = schedule.schedule
    if isinstance(found, CronSchedule):
        return f"{found.cron} ({found.timezone or 'UTC'})"
    return found.model_dump_json(exclude_none=True)
