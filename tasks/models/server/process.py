"""A model server that a stage starts: how to start it, when it is ready, and its certain end.

Imports no torch: configs are read by `sparring plan`.
"""

from __future__ import annotations

import re
import shlex
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from pydantic import Field, field_validator

from tasks.processes.child import Child, child_process, find_program
from tasks.settings.base import FrozenConfig
from tasks.settings.errors import StageError, did_you_mean
from tasks.settings.log import Log

if TYPE_CHECKING:
    import httpx

_BLANK = re.compile(r"\{(\w+)\}")
_BLANKS = ("model", "port")
_LOOK_SECONDS = 0.2
GRACE_SECONDS = 10.0
"""How long a server has to end by itself."""


class ServerConfig(FrozenConfig):
    """A server with OpenAI's completions interface that a stage starts, asks and stops."""

    command: tuple[str, ...] = Field(min_length=1)
    """The program and its arguments, as a list or as one line in a shell's quoting (no shell runs
    it). `{model}` becomes the policy's folder, `{port}` a free port; the second must occur.
    `vllm serve {model} --host 127.0.0.1 --port {port}`, or
    `transformers serve {model} --host 127.0.0.1 --port {port} --device cpu`."""
    environment: dict[str, str] = {}
    """Variables for the server beside those of this process, such as `CUDA_VISIBLE_DEVICES`.
    Not for secrets: they would be recorded with the run."""
    model_name: str | None = None
    """What requests call the model; default the policy's folder, as both servers above expect."""
    ready_seconds: float = Field(default=600.0, gt=0)
    """How long the server may take until it answers, loading the model included."""
    concurrency: int = Field(default=16, ge=1)
    """Requests in flight, one response each. A server that batches wants many; with 1, a server
    that seeds each request draws the same again."""
    request_seconds: float = Field(default=600.0, gt=0)
    """How long one response may take, its time in the server's queue included."""
    retries: int = Field(default=5, ge=0)
    """Further attempts at a response after an error that may pass: 429, 5xx, a lost connection, a
    timeout, an answer that makes no sense. They wait 1, 2, 4 … seconds, at most 30, jittered."""

    @field_validator("command", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(shlex.split(value)) if isinstance(value, str) else value

    @field_validator("command")
    @classmethod
    def _check_blanks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        blanks = [name for part in value for name in _BLANK.findall(part)]
        for name in blanks:
            if name not in _BLANKS:
                raise ValueError(f"{{{name}}} means nothing here{did_you_mean(name, _BLANKS)}")
        if "port" not in blanks:
            raise ValueError("no {port} in it: the stage chooses a free port and must tell it")
        return value


@dataclass(frozen=True, slots=True)
class ModelServer:
    """A server that answers."""

    url: str
    """Where: `http://127.0.0.1:PORT`."""
    model: Path
    """Folder of the policy it serves."""
    model_name: str
    """What requests call the policy."""
    config: ServerConfig
    """How it is asked."""
    log: Log
    """Where notes about it go."""
    child: Child
    """The running program."""

    def check(self) -> None:
        """Return if its program runs.

        Raises:
            StageError: if it ended; with the last lines of its log.
        """
        code = self.child.exit_code()
        if code is not None:
            how = (
                "was killed, most often for memory" if code == 137 else f"ended with status {code}"
            )
            raise StageError(
                f"the model server {how}; the end of {self.child.log}:\n{self.child.tail()}"
            )


@contextmanager
def model_server(
    config: ServerConfig, model: Path, *, folder: Path, log: Log
) -> Iterator[ModelServer]:
    """Have a server during the block; it is started, waited for, and ended with all it started.

    It is told a free port of 127.0.0.1 and asked there alone; no proxy of the environment is used.
    It ends even if this process is killed (see `children`).

    Args:
        config: what to start and how to ask it.
        model: folder of the policy.
        folder: gets the server's output, `model-server.log`.
        log: is told what is waited for.

    Raises:
        ConfigError: there is no such program; found before anything else happens.
        StageError: it ended early, or did not answer in time; with the last lines of its log.
    """
    find_program(config.command[0])
    model, port = model.resolve(), _free_port()
    values = {"model": str(model), "port": str(port)}
    command = [_BLANK.sub(lambda blank: values[blank[1]], part) for part in config.command]
    output = folder / "model-server.log"
    with child_process(
        command, log=output, environment=config.environment, grace=GRACE_SECONDS
    ) as child:
        url, name = f"http://127.0.0.1:{port}", config.model_name or str(model)
        server = ModelServer(url, model, name, config, log, child)
        log.note(
            f"starting {shlex.join(command)}; waiting up to {config.ready_seconds:g} s until it "
            f"answers; its output goes to {output}"
        )
        started = time.monotonic()
        _wait_until_ready(server)
        log.note(f"the model server is ready after {time.monotonic() - started:.1f} s")
        for address in _open_addresses(child, port):
            log.note(
                f"the model server listens on {address}: whoever reaches this machine may use it; "
                "name 127.0.0.1 in its command, mostly as --host"
            )
        yield server


def _wait_until_ready(server: ModelServer) -> None:
    import httpx

    seconds, last = server.config.ready_seconds, "it never listened"
    end = time.monotonic() + seconds
    # A proxy named in the environment would be asked for our own address.
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        while (left := end - time.monotonic()) > 0:
            server.check()
            try:
                if (last := _health(client, server.model_name, left)) == "ready":
                    return
            except httpx.ConnectError:
                pass
            except httpx.TransportError as error:
                last = f"its last answer: {type(error).__name__}"
            time.sleep(_LOOK_SECONDS)
    server.check()
    raise StageError(
        f"the model server did not answer within {seconds:g} s ({last}): raise ready_seconds, or "
        f"see why in the end of {server.child.log}:\n{server.child.tail()}"
    )


def _health(client: httpx.Client, model_name: str, left: float) -> str:
    """Ask whether a server is up; "ready", or what it said instead."""
    answer = client.get("/health", timeout=min(left, 10.0))
    if answer.status_code in (404, 405):
        answer = client.get("/v1/models", timeout=min(left, 10.0))
        # Where there is no list of models, one token tells.
        if not (answer.is_success or answer.status_code in (429, 503)):
            body = {"model": model_name, "prompt": "a", "max_tokens": 1}
            answer = client.post("/v1/completions", json=body, timeout=left)
    if answer.is_success:
        return "ready"
    return f"its last answer: {answer.status_code} {answer.text[:200]}"


def _open_addresses(child: Child, port: int) -> list[str]:
    """Return the addresses beyond this machine on which a program takes connections."""
    found = set()
    for process in psutil.Process(child.pid).children(recursive=True):
        with suppress(psutil.Error):
            for each in process.net_connections("tcp"):
                if each.status == psutil.CONN_LISTEN and each.laddr.port == port:
                    found.add(each.laddr.ip)
    return sorted(found - {"127.0.0.1", "::1"})


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
