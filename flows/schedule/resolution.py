"""What a scheduled run is made of, found anew each time, and whether any of it is new.

That is the data, the models to start from, and the seed.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from flows.configs.recurring import RecurringConfig, StartConfig, StartFrom
from flows.schedule.period_claims import LastCompleted
from flows.steps.hub_commits import pinned
from flows.steps.inputs import input_digests
from tasks.settings.errors import ConfigError
from tasks.stages.lineage.bans import why_barred
from tasks.stages.runs.aliases import CHAMPION, ROLES, alias_models, current_alias
from tasks.stages.runs.references import reference_of, referenced_artifact
from tasks.storage.digests import sha256_json
from tasks.storage.home import Home

_log = logging.getLogger("sparring.flows")
_NOT_THE_WORK = {
    "schedule", "gate", "placement", "start", "inputs", "notify", "budget", "project",
    "candidates",
}  # fmt: skip
"""Keys of a configuration that say when and where to work, and what to do with the result."""


class Resolution(NamedTuple):
    """The inputs of one scheduled run."""

    config: RecurringConfig
    """The configuration with start models, data digests and seed filled in."""
    basis: str
    """Digest of all that was configured and of the data, without the start models and the seed."""
    used: dict[str, str | None]
    """The start models by role; None for the configured ones."""


def resolve(
    home: Home, flow: str, config: RecurringConfig, last: LastCompleted | None
) -> Resolution:
    """Find out what a run of the deployed configuration starts from now, after the last one.

    Raises:
        ConfigError: A data file or a start model is gone, or the hub does not answer.
    """
    config = pinned(config)
    assert config.schedule is not None
    wanted = {"policy": config.schedule.policy, "reward_model": config.schedule.reward_model}
    used = {role: _start(home, flow, config, wanted[role], role, last) for role in ROLES}
    digests = input_digests(config)
    seed = config.seed
    if config.schedule.seed == "advance" and last is not None:
        seed += last.count
    filled_in = {"start": StartConfig(**used), "inputs": digests, "seed": seed}
    resolved = config.model_copy(update=filled_in)
    plain = config.model_dump(mode="json", exclude=_NOT_THE_WORK)
    if plain.get("evaluation", {}).get("yardstick", "") is None:
        del plain["evaluation"]["yardstick"]  # so that what was deployed before is nothing new
    basis = sha256_json({"config": plain, "start": config.start.model_dump(), "inputs": digests})
    return Resolution(resolved, basis, used)


def nothing_new(found: Resolution, last: LastCompleted | None) -> str:
    """Say why there is nothing to do, or return an empty text.

    There is nothing to do when configuration and data are those of the last run that came to its
    end, and the start models are those which it used or made itself.
    """
    if last is None or found.basis != last.basis:
        return ""
    for role, reference in found.used.items():
        if reference not in (last.used.get(role), last.made.get(role)):
            return ""
    return f"nothing new since {last.run}: same data, same configuration, same start"


def _start(
    home: Home,
    flow: str,
    config: RecurringConfig,
    wanted: StartFrom,
    role: str,
    last: LastCompleted | None,
) -> str | None:
    """Return the reference of a start model; None, or what `start` says, is the base."""
    base: Any = getattr(config.start, role)
    if wanted == "previous" and last is not None:
        said_by = f"schedule.{role}: previous, the {role} of {last.run},"
        if role not in last.made:
            raise ConfigError(f"{said_by} is missing: {last.run} made no {role}")
        if why := why_barred(home, {role: last.made[role]}):
            _log.warning(
                "the scheduled run starts from the base, not the previous %s: %s", role, why
            )
            return base
        return reference_of(
            referenced_artifact(home, last.made[role], f"previous {role}", said_by=said_by)
        )
    if wanted == "champion" and (record := current_alias(home, flow, CHAMPION)) is not None:
        if why := why_barred(home, record.models):
            _log.warning("the run starts from the base, not from the champion: %s", why)
            return base
        models = alias_models(home, record)
        if role not in models:
            raise ConfigError(f"schedule.{role}: champion has no {role} (run {record.run})")
        return reference_of(models[role])
    return base
