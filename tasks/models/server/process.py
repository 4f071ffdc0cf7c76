"""A model server that a stage starts: how it is started, when it is ready, and its certain end."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tasks.models.sampling.config import ServerConfig
from tasks.processes.child import Child, child_process, find_program
from tasks.processes.ports import free_port
from tasks.settings.errors import StageError
from tasks.settings.log import Log

if TYPE_CHECKING:
    import httpx

_LOOK_SECONDS = 0.2
GRACE_SECONDS = 10.0
"""How long a server has to end by itself."""


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
            StageError: If it ended; with the last lines of its log.
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
    It ends even if this process is killed (see `child_process`). Its output goes to
    `model-server.log` in the folder.

    Raises:
        ConfigError: There is no such program; found before anything else happens.
        StageError: It ended early, or did not answer in time; with the last lines of its log.
    """
    find_program(config.command[0])
    model, port = model.resolve(), free_port()
    command = config.filled_command(str(model), port)
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
