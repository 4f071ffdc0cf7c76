"""A server that a stage starts: commands, waiting, and an end that leaves nothing behind."""

from __future__ import annotations

import os
import stat
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import ValidationError

from tasks.models.sampling.config import ServerConfig
from tasks.models.server.process import ModelServer, model_server
from tasks.settings.errors import ConfigError, StageError
from tests.servers import openai_server

PROGRAM = (sys.executable, openai_server.__file__, "--port", "{port}")


class Notes:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def configure(*options: str, **values: Any) -> ServerConfig:
    return ServerConfig(command=(*PROGRAM, *options), **{"ready_seconds": 20.0, **values})


def family(server: ModelServer) -> list[psutil.Process]:
    reaper = psutil.Process(server.child.pid)
    return [reaper, *reaper.children(recursive=True)]


def are_gone(processes: list[psutil.Process], seconds: float) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return all(process.status() == psutil.STATUS_ZOMBIE for process in alive)


def test_command_is_a_line_or_a_list() -> None:
    line = ServerConfig(command="vllm serve {model} --port {port} --name 'a b'")
    assert line.command == ("vllm", "serve", "{model}", "--port", "{port}", "--name", "a b")
    assert ServerConfig(command=list(line.command)) == line


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("vllm serve {model}", r"no \{port\} in it"),
        ("vllm serve {modle} {port}", r"\{modle\} means nothing here; did you mean 'model'"),
        ("", "at least 1 item"),
        ("vllm 'serve {port}", "No closing quotation"),
    ],
)
def test_a_wrong_command_is_refused(command: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ServerConfig(command=command)


def test_json_in_a_command_is_no_blank(tmp_path: Path) -> None:
    assert ServerConfig(command=("a", '{"x": 1}', "{port}")).command[1] == '{"x": 1}'


def test_missing_program_is_found_first(tmp_path: Path) -> None:
    config = ServerConfig(command="no-such-program {model} {port}")
    with (
        pytest.raises(ConfigError, match="no program 'no-such-program'"),
        model_server(config, tmp_path, folder=tmp_path / "none", log=Notes()),
    ):
        pass


def test_it_answers_in_the_block_and_is_gone_behind_it(tmp_path: Path) -> None:
    log = Notes()
    config = configure(environment={"SEEN": "here"})
    with model_server(config, tmp_path / "a model", folder=tmp_path, log=log) as server:
        server.check()
        processes = family(server)
        assert len(processes) == 2
        assert processes[1].environ()["SEEN"] == "here"
        assert os.getsid(processes[1].pid) != os.getsid(0)
        assert server.model_name == str(tmp_path / "a model")
        assert server.child.tail().splitlines() == ["this is the server's log"]
        assert stat.S_IMODE(server.child.log.stat().st_mode) == 0o600
    assert are_gone(processes, 0)
    assert "waiting up to 20 s until it answers" in log.texts[0]
    assert "is ready after" in log.texts[1]
    assert len(log.texts) == 2


def test_blanks_are_filled_inside_arguments(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    command = (sys.executable, "-c", "import sys; print(sys.argv[1:]); sys.exit(1)")
    config = ServerConfig(command=(*command, "--m={model}", "{port}"))
    with (
        pytest.raises(StageError, match="status 1") as caught,
        model_server(config, folder, folder=tmp_path, log=Notes()),
    ):
        pass
    assert f"['--m={folder}', '" in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        ("--loading", "1"),
        ("--missing", "/health"),
        ("--missing", "/health", "/v1/models"),
    ],
)
def test_ways_of_being_ready(tmp_path: Path, options: tuple[str, ...]) -> None:
    with model_server(configure(*options), tmp_path, folder=tmp_path, log=Notes()) as server:
        server.check()


def test_one_that_is_open_to_the_network_is_told(tmp_path: Path) -> None:
    log = Notes()
    with model_server(configure("--host", "0.0.0.0"), tmp_path, folder=tmp_path, log=log):
        assert "listens on 0.0.0.0" in log.texts[2]


def test_a_proxy_of_the_environment_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with model_server(configure(), tmp_path, folder=tmp_path, log=Notes()) as server:
        server.check()


def test_one_that_ends_early_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(StageError, match="status 3(?s:.*)the model is broken"),
        model_server(configure("--dies"), tmp_path, folder=tmp_path, log=Notes()),
    ):
        pass


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--deaf",), "within 1 s .it never listened.: raise ready_seconds"),
        (("--loading", "60"), "its last answer: 503"),
    ],
)
def test_one_that_is_not_ready_in_time_ends(
    tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    config = configure(*options, ready_seconds=1.0)
    before = psutil.Process().children(recursive=True)
    with (
        pytest.raises(StageError, match=message),
        model_server(config, tmp_path, folder=tmp_path, log=Notes()),
    ):
        pass
    assert set(psutil.Process().children(recursive=True)) <= set(before)


def test_one_that_dies_later_is_noticed(tmp_path: Path) -> None:
    with model_server(configure("--family"), tmp_path, folder=tmp_path, log=Notes()) as server:
        processes = family(server)
        processes[1].kill()
        # What it had started is of no use any more.
        assert are_gone(processes[1:], 5)
        server.child.stop()
        with pytest.raises(StageError, match="was killed, most often for memory"):
            server.check()


def test_one_that_ignores_sigterm_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.models.server.process.GRACE_SECONDS", 0.5)
    with model_server(configure("--stubborn"), tmp_path, folder=tmp_path, log=Notes()) as server:
        processes = family(server)
        before = time.monotonic()
    assert 0.5 <= time.monotonic() - before < 5
    assert are_gone(processes, 0)
