"""What a configuration says about recurring runs, and what is refused with the key's name."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter

from flows.configs.apo import ApoConfig
from flows.configs.cron import check_cron
from flows.configs.recurring import ScheduleConfig
from flows.schedule.scheduled_run import next_instants
from tasks.settings.errors import ConfigError
from tasks.settings.loading import apply_overrides, load_config, validate
from tests.flows.command import SMALL
from tests.flows.scheduling import RECURRING


def config(*overrides: str) -> ApoConfig:
    return validate(ApoConfig, apply_overrides(load_config(SMALL), overrides), "small.yaml")


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("schedule={cron: 61 3 * * *}", "schedule.cron.* '61' is no minute: numbers from 0 to 59"),
        ("schedule={cron: 0 3 * *}", "schedule.cron.* has 4 fields"),
        ("schedule={cron: 0 3 * * mo}", "schedule.cron.* 'mo' is no day of the week"),
        ("schedule={cron: 0 3 9-55 * *}", "schedule.cron.* '9-55' is no day of the month"),
        ("schedule={cron: R 3 * * *}", "schedule.cron.* 'R' is no minute"),
        ("schedule={cron: '*/0 3 * * *'}", r"schedule.cron.* '\*/0' is no minute"),
        ("schedule={timezone: UTC}", "schedule.cron"),
        (
            "schedule={cron: 0 3 * * *, timezone: Europe/Zurych}",
            "schedule.timezone.* there is no time zone 'Europe/Zurych'",
        ),
        ("schedule={cron: 0 3 * * *, timezone: /etc/passwd}", "schedule.timezone.* no time zone"),
        ("schedule={cron: 0 3 * * *, timezone: ''}", "schedule.timezone.* no time zone"),
        ("schedule={cron: 0 3 * * *, policy: best}", "schedule.policy"),
        ("gate={tester: RM_tset}", "gate.tester is 'RM_tset'.*did you mean 'RM_Test'"),
        ("gate={min_win_rate: 1.5}", "gate.min_win_rate"),
        ("gate={min_winrate: 0.5}", "did you mean 'min_win_rate'"),
    ],
)
def test_a_mistake_is_named_with_its_key(override: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){problem}"):
        config(override)


GOOD = (
    "0 3 * * *",
    "*/15 0-6,22 1,15 jan-mar mon",
    "0 0 L * 5#2",
    "@daily",
    "5/20 * * * 7",
    "0 3 * * fri-mon",
)
BAD = ("@noon", "1,,2 * * * *", "0 24 * * *", "0 0 32 * *", "0 0 * * 8", "*-5 * * * *", "H * * * *")


@pytest.mark.parametrize("cron", [*GOOD, *BAD])
def test_what_prefect_takes_is_taken_and_nothing_else(cron: str) -> None:
    from prefect.client.schemas.schedules import CronSchedule

    with nullcontext() if cron in GOOD else pytest.raises(ValueError):
        check_cron(cron)
    with nullcontext() if cron in GOOD else pytest.raises(ValueError):
        CronSchedule(cron=cron)


@pytest.mark.parametrize("cron", ["*/15 0-6,22 1,15 jan-mar mon", "0 0 L * *", "0 3 * * fri-mon"])
def test_prefect_counts_as_the_library_that_checks(cron: str) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    counted = next_instants(ScheduleConfig(cron=cron), 5, start)
    ours = croniter(cron, start - timedelta(seconds=1))
    assert counted == [ours.get_next(datetime) for _ in range(5)]


def test_none_of_it_changes_what_is_computed() -> None:
    """The gate and the schedule are in no stage's config, so they are in no key."""
    plain = config()
    other = config("schedule={cron: 0 3 * * *}", "gate={max_kl: 3.0, tester: oracle}")
    same = ("data", "gold", "model", "sft", "reward", "policy", "sampling", "evaluation")
    assert all(getattr(plain, name) == getattr(other, name) for name in same)


def test_the_next_instants_are_in_utc_and_follows_summer_time() -> None:
    schedule = ScheduleConfig(cron="0 3 * * *", timezone="Europe/Zurich")
    zurich = ZoneInfo("Europe/Zurich")
    start = datetime(2026, 3, 28, tzinfo=zurich)
    dates = next_instants(schedule, 3, start)
    assert [date.hour for date in dates] == [2, 1, 1], "3:00 there, whatever the clocks do"
    assert all(date.tzinfo is UTC for date in dates)
    assert next_instants(schedule, 1, dates[1]) == [dates[1]], "an instant is not passed over"


def test_an_hour_that_comes_twice_is_one_period() -> None:
    """Clocks go back from 3:00 to 2:00 on 2026-10-25 in Zurich; half past two comes twice."""
    schedule = ScheduleConfig(cron="30 2 * * *", timezone="Europe/Zurich")
    dates = next_instants(schedule, 2, datetime(2026, 10, 24, 12, tzinfo=UTC))
    assert len(set(dates)) == 2
    assert [date.date().isoformat() for date in dates] == ["2026-10-25", "2026-10-26"]


@pytest.mark.parametrize("minutes", ["15", "*/30"])
@pytest.mark.parametrize(
    ("zone", "end"),
    [
        ("Europe/Zurich", datetime(2026, 10, 24, 23, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 11, 1, 4, tzinfo=UTC)),
        ("Europe/Zurich", datetime(2027, 3, 28, 0, tzinfo=UTC)),
        ("Australia/Sydney", datetime(2027, 4, 3, 14, tzinfo=UTC)),
    ],
)
def test_an_hourly_cron_loses_no_hour_when_clocks_change(
    zone: str, end: datetime, minutes: str
) -> None:
    schedule = ScheduleConfig(cron=f"{minutes} * * * *", timezone=zone)
    dates = next_instants(schedule, 8, end)
    step = timedelta(minutes=60 if minutes == "15" else 30)
    assert [later - earlier for earlier, later in pairwise(dates)] == [step] * 7


def test_minutes_are_those_of_the_zone_where_its_hours_begin_between() -> None:
    schedule = ScheduleConfig(cron="0 * * * *", timezone="Asia/Kolkata")
    (date,) = next_instants(schedule, 1, datetime(2026, 10, 24, tzinfo=UTC))
    assert date.minute == 30


def test_the_schedule_of_the_tests_is_a_valid_config() -> None:
    tree: Any = load_config(RECURRING)
    assert validate(ApoConfig, tree, "recurring.yaml").schedule is not None
