"""Passwords are in no sentence of ours, wherever they come from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.runs.console import open_console, print_json
from tasks.settings.errors import ConfigError
from tasks.settings.passwords import without_passwords
from tasks.tracking.mlflow_record.background_sync import Recorder
from tasks.tracking.remote.base import RemoteError
from tasks.tracking.remote.opening import open_remote
from tasks.tracking.spool import Spool


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:canary@h:4200/api", "http://me:***@h:4200/api"),
        ("http://me:canary@2@h", "http://me:***@h"),
        ("at https://canary@h/x, and ws://:canary@h", "at https://***@h/x, and ws://:***@h"),
        ("postgresql+psycopg2://u:can%40ary@h:5432/d", "postgresql+psycopg2://u:***@h:5432/d"),
        ("s3://AKIA:can/ary@bucket/a", "s3://AKIA:***@bucket/a"),
        ('{"a": "http://a:canary@h", "b": "c@d"}', '{"a": "http://a:***@h", "b": "c@d"}'),
        ("http://127.0.0.1:4200/api of me@h", "http://127.0.0.1:4200/api of me@h"),
        ("sqlite:////tmp/a@b/mlflow.db", "sqlite:////tmp/a@b/mlflow.db"),
    ],
)
def test_an_address_is_shown_without_its_password(text: str, shown: str) -> None:
    assert without_passwords(text) == shown == without_passwords(shown)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PREFECT_API_AUTH_STRING", "me:canary-1"),
        ("MLFLOW_TRACKING_PASSWORD", "canary-1"),
        ("MLFLOW_TRACKING_TOKEN", "canary-1"),
        ("MLFLOW_FLASK_SERVER_SECRET_KEY", "canary-1"),
        ("AWS_SECRET_ACCESS_KEY", "canary-1"),
        ("HF_TOKEN", "canary-1"),
        ("MLFLOW_TRACKING_URI", "https://me:canary%2D1@h"),
    ],
)
def test_what_the_environment_holds_is_recognised(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert without_passwords("401: canary-1 is wrong") == "401: *** is wrong"


class Going(dict[str, str]):
    """An environment from which another thread takes a variable while it is read."""

    def __iter__(self) -> Iterator[str]:
        yield from [*super().__iter__(), "GONE_TOKEN"]


def test_a_variable_that_is_gone_meanwhile_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", Going(A_TOKEN="secret-1"))
    assert without_passwords("it was secret-1") == "it was ***"


def test_errors_the_console_and_the_spool_pass_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "http://me:canary@h"
    for error in (ConfigError(f"{url} is down"), RemoteError(f"{url} is down")):
        assert str(error) == "http://me:***@h is down"
    open_console().print(f"see {url}")
    print_json({"at": url})
    assert "canary" not in (said := capsys.readouterr().out) and said.count("me:***@h") == 2
    spool = Spool(tmp_path / "spool", "r")
    spool.run_started(flow="f", experiment="e", params={"judge": [{"url": url}]}, tags={"at": url})
    spool.metrics("k", {"loss": 1.0}, step=1, attempt=1)
    (segment,) = tmp_path.rglob("*.journal")
    assert b"canary" not in segment.read_bytes() and b'"loss":1.0' in segment.read_bytes()


@pytest.mark.parametrize("url", ["s3://AKIA:can/ary@bucket/a", "https://me:canary@h/bucket"])
def test_a_refused_remote_is_named_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError, match=r"\*\*\*@") as refused:
        open_remote(url)
    assert "ary@" not in str(refused.value)


def test_a_tracking_server_that_is_down_is_named_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:canary@127.0.0.1:9")
    spool = Spool(tmp_path / "spool", "r")
    spool.tags(None, {"a": "b"})
    monkeypatch.setattr(
        "tasks.tracking.event_sink.open_sink",
        lambda *_: (_ for _ in ()).throw(OSError("no http://me:canary@127.0.0.1:9")),
    )
    recorder = Recorder(spool, tmp_path / "mlruns")
    recorder.start()
    recorder.close(timeout=10)
    assert "me:***@127.0.0.1" in caplog.text and "canary" not in caplog.text
