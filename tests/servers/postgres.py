"""A real Postgres for tests: Debian's programs, a folder of its own, a password, loopback only."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_USER = "sparring"
PASSWORD = "pg-canary-5f1d"
"""Of the user; a test looks for it where it must not be."""


@dataclass(frozen=True)
class PostgresServer:
    """A running server."""

    port: int
    """On 127.0.0.1."""
    programs: Path
    """The folder of its programs."""

    def url(self, database: str, scheme: str = "postgresql") -> str:
        """Return the address of a database, which must exist, with its password."""
        return f"{scheme}://{_USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> None:
        """Make an empty database."""
        command = [self.programs / "createdb", "-h", "127.0.0.1", "-p", str(self.port)]
        environment = {**os.environ, "PGPASSWORD": PASSWORD}
        subprocess.run([*command, "-U", _USER, database], env=environment, check=True)


def missing_programs() -> list[str]:
    """Return what is missing here to start one."""
    return [] if _programs() else ["postgresql"]


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Have a server during the block."""
    programs = _programs()
    assert programs is not None
    # Where another user may go: pytest's own folders are closed to it.
    folder = Path(tempfile.mkdtemp(prefix="sparring-postgres-"))
    as_user = _as_another_user(folder)
    secret = folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    data = folder / "data"
    initdb = [programs / "initdb", "-D", data, "-U", _USER, "-A", "scram-sha-256", "-N"]
    subprocess.run(
        [*as_user, *initdb, f"--pwfile={secret}"], check=True, cwd=folder, stdout=subprocess.DEVNULL
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = f"-c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    server = subprocess.Popen(
        [*as_user, programs / "postgres", "-D", data, "-p", str(port), *options.split()],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=(folder / "log").open("wb"),
    )
    try:
        _wait(programs, port, server, folder / "log")
        yield PostgresServer(port, programs)
    finally:
        server.terminate()
        server.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path | None:
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(folders) if (folder / "initdb").exists()), None)


def _as_another_user(folder: Path) -> list[str]:
    """Return what goes before a command: Postgres refuses to run as root."""
    if os.getuid() != 0:
        return []
    shutil.chown(folder, "postgres", "postgres")
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]


def _wait(programs: Path, port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 30
    ready = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(ready).returncode != 0:
        assert server.poll() is None and time.monotonic() < until, log.read_text(errors="replace")
        time.sleep(0.1)
