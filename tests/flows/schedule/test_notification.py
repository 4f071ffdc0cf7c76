"""Webhooks on this machine are told by Prefect's own block, through a real server."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Crashed

from flows.configs.recurring import NotifyConfig, RecurringConfig
from flows.schedule import scheduled_run
from flows.schedule.notification import (
    ensure_late_automation,
    require_block,
    tell,
    tell_of_disk,
    telling_failure,
)
from flows.schedule.period_claims import PeriodClaims
from tasks.settings.errors import ConfigError
from tasks.storage.home import Home
from tasks.tracking.remote.folder import FolderRemote
from tests.flows.command import wait_until

SECRET = "hooks-secret-4711"


@pytest.fixture
def told(prefect_server: str) -> Iterator[list[dict[str, str]]]:
    """What a webhook was told that the block `custom-webhook/here` names."""
    with temporary_settings({PREFECT_API_URL: prefect_server}):
        yield from listening()


def listening() -> Iterator[list[dict[str, str]]]:
    heard: list[dict[str, str]] = []

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Webhook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    save_block("here", f"http://127.0.0.1:{server.server_port}/{SECRET}")
    yield heard
    server.shutdown()
    server.server_close()


def save_block(name: str, url: str) -> None:
    payload = {"title": "{{subject}}", "text": "{{body}}"}
    block = CustomWebhookNotificationBlock(name=name, url=url, json_data=payload)
    block.save(name, overwrite=True)


def notify(name: str = "here", **values: Any) -> NotifyConfig:
    return NotifyConfig(block=f"custom-webhook/{name}", **values)


def test_who_wants_to_know_is_told(told: list[dict[str, str]], home: Home) -> None:
    tell(notify(), "promoted", "a is the champion", "see b")
    tell(notify(events=("failed",)), "promoted", "nobody asked")
    tell(None, "failed", "nobody is there")
    with pytest.raises(ConfigError), telling_failure("apo", notify()):
        raise ConfigError("the first line\nthe second")
    with pytest.raises(KeyboardInterrupt), telling_failure("apo", notify()):
        raise KeyboardInterrupt
    tell_of_disk(notify(free_gigabytes=1e9), home.root)
    tell_of_disk(notify(free_gigabytes=1e-9), home.root)
    first, failure, disk = told
    assert first == {"title": "sparring: a is the champion", "text": "see b"}
    assert failure == {"title": "sparring: a run of apo failed", "text": "the first line"}
    assert disk["title"] == "sparring: the disk is nearly full" and "GB left" in disk["text"]


def test_a_webhook_that_is_down_stops_nothing_and_shows_no_address(
    told: list[dict[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    save_block("down", f"http://127.0.0.1:9/{SECRET}")
    with caplog.at_level(logging.WARNING, "sparring.stages"):
        tell(notify("down"), "failed", "a run of apo failed")
        tell(notify("missing"), "failed", "a run of apo failed")
    down, missing = [one.getMessage() for one in caplog.records if one.name == "sparring.stages"]
    assert "nobody was told that a run of apo failed: " in down and "custom-webhook/down" in down
    assert "custom-webhook/missing" in missing and SECRET not in caplog.text and not told


def test_the_server_tells_of_late_and_dead_runs(told: list[dict[str, str]]) -> None:
    with get_client(sync_client=True) as client:
        flow = client.create_flow_from_name("apo")
        deployment = client.create_deployment(flow, name="nightly")
        for name in ("here", "here"):
            ensure_late_automation(client, deployment, "apo/nightly", notify(name))
        found: Any
        (found,) = client.read_automations_by_name("sparring: apo/nightly is late or died")
        (action,) = found.actions
        assert action.block_document_id == require_block(client, "custom-webhook/here")
        assert found.trigger.expect == {"prefect.flow-run.Late", "prefect.flow-run.Crashed"}
        # The server itself tells: of this deployment's run, and not of another's.
        other = client.create_deployment(flow, name="other")
        for one in (other, deployment):
            run = client.create_flow_run_from_deployment(one)
            died: Any = Crashed(message="the machine is gone")
            client.set_flow_run_state(run.id, died, force=True)
        wait_until(lambda: bool(told), seconds=120)
        assert [message["title"] for message in told] == [
            "sparring: a run of apo/nightly is Crashed"
        ]
        said = told[0]["text"]
        assert said.startswith(f"{run.name}, due ") and said.endswith(": the machine is gone")
        with pytest.raises(ConfigError, match="has no such block: make one on the"):
            ensure_late_automation(client, deployment, "apo/nightly", notify("missing"))
        with pytest.raises(ConfigError, match="webhook sends no notifications: .*custom-webhook"):
            require_block(client, "webhook/here")
        ensure_late_automation(client, deployment, "apo/nightly", notify(events=("failed",)))
        assert not client.read_automations_by_name("sparring: apo/nightly is late or died")


def test_nothing_new_is_told_every_so_many_times(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = PeriodClaims(FolderRemote(home.root), "apo/nightly", lambda _: True)
    config = RecurringConfig(notify=notify(nothing_new_times=2))
    said: list[str] = []
    monkeypatch.setattr(scheduled_run, "tell", lambda _, __, subject, ___: said.append(subject))
    ends = ["nothing new", "nothing new", "completed", "nothing new", "nothing new", "nothing new"]
    for number, end in enumerate(ends):
        claim = claims.take(f"2026010{number}T000000Z", f"run-{number}", wait=None)
        claims.end(claim, end, "why")
        if end == "nothing new":
            times = claims.nothing_new_until(claim)
            scheduled_run._tell_of_nothing_new("apo", config, times, "why")
    assert said == 2 * ["2 scheduled runs of apo in a row found nothing new"]


@pytest.mark.parametrize("block", ["team", "Slack Webhook/team", "slack-webhook/"])
def test_a_block_is_a_type_and_a_name(block: str) -> None:
    with pytest.raises(ValueError, match="block"):
        NotifyConfig(block=block)
