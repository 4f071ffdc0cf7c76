"""What every flow's configuration has for recurring runs: schedule, start, inputs and gate.

None of it is part of a stage's key; the models and data that a scheduled run finds by it are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Literal, NamedTuple, Self, get_args
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator

from flows.configs.cron import check_cron
from tasks.data.playground.config import PlaygroundConfig
from tasks.evaluation.config import GateConfig
from tasks.models.tokens.encoding import Limits
from tasks.settings.base import FrozenConfig, Seed
from tasks.stages.runs.states import flow_in_project

StartFrom = Literal["base", "previous", "champion"]
_HOUR = timedelta(hours=1)


class ModelSource(NamedTuple):
    """A model that a configuration names and a stage will load."""

    source: str
    """Folder or hub name."""
    template: str | None
    """Chat template by name; None for the tokenizer's own."""
    limits: tuple[Limits, ...]
    """Every pair of lengths that it will be fed."""
    revision: str | None = None
    """Branch, tag or commit of a hub model."""
    decoder: bool = False
    """Whether it may have no encoder."""
    layers: tuple[str, int] = ("", 0)
    """The most `trainable_layers` that a training asks of it, after the key that says so."""


class ScheduleConfig(FrozenConfig):
    """When a deployed flow runs by itself, and from what each of its runs starts."""

    cron: str
    """Five fields: minute, hour, day of the month, month, day of the week. `0 3 * * *` is every
    day at 3:00."""

    timezone: str = "UTC"
    """Name of the time zone that the cron counts in, for example Europe/Zurich. A day's cron in the
    hour that comes twice when summer time ends is one period; one of every hour has both."""

    policy: StartFrom = "base"
    """What each run trains further: base (what the config names), previous (the policy of the last
    scheduled run that trained) or champion (the promoted one). Before there is one: base."""

    reward_model: StartFrom = "base"
    """What each run's reward models start from; as `policy`."""

    seed: Literal["fixed", "advance"] = "fixed"
    """advance adds to the seed the number of scheduled runs that trained before, so that each draws
    anew."""

    promote: Literal["gate"] | None = None
    """gate: each scheduled run ends by asking the gate whether its policy becomes the champion, as
    `sparring promote` does. Default: nobody is promoted but by hand."""

    catch_up: Literal["latest", "all"] = "latest"
    """After a pause (no worker, servers down): only the newest period that is due, or each one
    after the other."""

    @property
    def counting_zone(self) -> str:
        """The zone in which Prefect counts; UTC where the cron comes in every hour alike.

        Prefect passes over the second of the two equal hours in which summer time ends.
        """
        is_hourly = self.cron.split()[1:] == ["*"] * 4
        now = datetime.now(ZoneInfo(self.timezone))
        seasons = (now.replace(month=month, day=1) for month in (1, 7))
        has_whole_hours = not any((one.utcoffset() or _HOUR) % _HOUR for one in seasons)
        return "UTC" if is_hourly and has_whole_hours else self.timezone

    @field_validator("cron")
    @classmethod
    def _cron(cls, value: str) -> str:
        check_cron(value)
        return value

    @field_validator("timezone")
    @classmethod
    def _timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):  # unknown, no name, a folder of names
            raise ValueError(
                f"there is no time zone {value!r}; expected a name such as UTC or Europe/Zurich"
            ) from None
        return value


class StartConfig(FrozenConfig):
    """Finished models that a run starts from instead of the configured ones."""

    policy: str | None = None
    """`STAGE/KEY` of a policy, instead of `model` and `sft`. The command line takes every name
    and writes the key down: `champion`, `latest/DPO-v1`, the beginning of a key."""

    reward_model: str | None = None
    """`STAGE/KEY` of a reward model: RM_Base and the adapted ones start from it. The testing
    reward models never do, so that they judge independently."""


class RunBudget(FrozenConfig):
    """The most that one run may use, over all its attempts; at a cap it is saved and stops.

    0 is a cap as any other: nothing of it may be used.
    """

    dollars: float | None = Field(default=None, ge=0)
    """Most dollars for paid servers, whatever the budgets of its endpoints. Default: only those."""

    tokens: int | None = Field(default=None, ge=0)
    """Most tokens that paid servers read and write. Default: only the endpoints' caps."""

    hours: float | None = Field(default=None, ge=0)
    """Most hours in which the run works; the time between its attempts does not count. At the cap a
    training step or a sampled shard that has begun is ended first, so that the run may take so much
    more, and says so. Default: no cap."""

    gpu_hours: float | None = Field(default=None, ge=0)
    """Most hours of GPUs that its stages hold, each GPU counted. Default: no cap."""


NotifyEvent = Literal[
    "failed", "waiting", "promoted", "gate_refused", "nothing_new", "falling", "late", "disk_low"
]
"""What somebody may want to be told."""


class NotifyConfig(FrozenConfig):
    """Who is told what about runs, by a notification block of the Prefect server."""

    block: str = Field(pattern=r"^[a-z0-9-]+/[a-z0-9-]+$")
    """The block as Prefect names it, `TYPE/NAME`: `slack-webhook/team`, `custom-webhook/alerts`.
    Its address and its password stay on the server."""

    events: tuple[NotifyEvent, ...] = get_args(NotifyEvent)
    """What is told: a run failed or was stopped by its budget, it waits for people, a candidate
    became the champion or was refused, scheduled runs found nothing new, their win rate by the
    yardstick falls, one is late or its process died, the disk is nearly full. Default: all."""

    nothing_new_times: int = Field(default=3, ge=1)
    """After so many scheduled runs in a row without anything new it is told, and after as many
    again. Default 3."""

    falling_times: int = Field(default=3, ge=1)
    """After so many falls in a row of the win rate by `evaluation.yardstick` it is told, and after
    as many again. Default 3."""

    free_gigabytes: float = Field(default=5.0, gt=0)
    """A disk with less room at the start of a run is nearly full. Default 5."""


def flow_name(flow: str, config: FrozenConfig) -> str:
    """Return what the runs of a flow with a configuration are named by: `FLOW`, `PROJECT.FLOW`."""
    return flow_in_project(flow, getattr(config, "project", None))


class RecurringConfig(FrozenConfig):
    """What the configuration of any flow has: what recurring runs read and fill in.

    A flow that reads files or models says which; without that a scheduled run would not see that
    they changed.
    """

    seed: Seed = 0
    """Of every random choice; what exactly, each flow says."""

    candidates: Literal["every_run", "scheduled_runs"] | None = None
    """Which runs that end well set the alias `candidate`; what any other offered becomes it by
    `sparring promote RUN`. Default: every_run, in a `project` scheduled_runs, so that nobody's
    trial takes the place of what the schedule made."""

    project: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")
    """Whose work it is, where several share one store: runs, aliases and experiments are named
    `PROJECT.FLOW` then, registered models `PROJECT-FLOW-policy`, and gc counts the runs to keep
    apart. What a stage made serves every project. Small letters, digits, `-` and `_`. Default:
    none."""

    schedule: ScheduleConfig | None = None
    """When `sparring deploy` lets the flow run by itself. Default: only when asked."""

    start: StartConfig = StartConfig()
    """Finished models to start from; filled in by each scheduled run."""

    inputs: dict[str, str] = {}
    """Digest by path of the data files that this run is made of, and commit by address of what it
    takes from the hub; filled in by each scheduled run. A run whose files have other contents stops
    and says so."""

    budget: RunBudget = RunBudget()
    """The most that a run may use, one run of a schedule for example. It is said at 80 %; at a cap
    the run saves how far it is and ends with exit code 4, and goes on once the cap is raised."""

    notify: NotifyConfig | None = None
    """Who is told when a run fails, waits, is late, or changes the champion. Default: nobody."""

    gate: GateConfig = GateConfig()
    """What a candidate must show to become the champion."""

    @property
    def only_scheduled_candidates(self) -> bool:
        """Whether a run that nobody scheduled leaves the alias `candidate` alone."""
        return (
            self.candidates or ("scheduled_runs" if self.project else "every_run")
        ) != "every_run"

    def files(self) -> list[str]:
        """Return every file and folder of the user's that a run reads, as the config names them.

        A playground must have been generated before.
        """
        return []

    def own_paths(self) -> tuple[str | None, ...]:
        """Return the files and folders that are named beside the data and can be nothing else."""
        return ()

    def playground(self) -> PlaygroundConfig | None:
        """Return the generated world that the data come from, if they do."""
        return None

    def named_models(self) -> Iterator[ModelSource]:
        """Yield the models that a stage will load; a built architecture is none of them."""
        yield from ()

    def with_model_names(self, change: Callable[[str], str]) -> Self:
        """Return this configuration with every model that is named by one text named anew.

        Args:
            change: Takes a folder or hub name and returns the one to put in its place.
        """
        return self
