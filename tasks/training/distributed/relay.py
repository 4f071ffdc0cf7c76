"""What the main training process tells the stage that started it: metrics, notes, parts.

A message is a JSON object over a socket in a folder of the user's own. Only `saved` and `dropped`
are answered: the stage copies a part to the remote, for which it alone has the connection.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from tasks.settings.errors import StageError
from tasks.settings.log import Log
from tasks.storage.parts import FileRecord
from tasks.storage.workspace import Workspace


class Relay:
    """The stage's end: a context manager that listens to one training process."""

    def __init__(self, workspace: Workspace, log: Log) -> None:
        """Say who is told and whose parts are mirrored."""
        self.workspace, self.log = workspace, log
        self.process: int | None = None
        """The main training process, once it trains and a signal would find it ready."""
        self.error: Exception | None = None
        """What went wrong on the stage's side."""
        self._folder = tempfile.TemporaryDirectory(prefix="sparring-")
        self.address = str(Path(self._folder.name, "stage"))
        """Where the training process connects."""
        self._server = socket.socket(socket.AF_UNIX)
        self._connection: Connection | None = None

    def __enter__(self) -> Relay:
        """Start to listen."""
        self._server.bind(self.address)
        self._server.listen(1)
        return self

    def __exit__(self, *error: object) -> None:
        """Stop listening."""
        if self._connection is not None:
            self._connection.close()
        self._server.close()
        self._folder.cleanup()

    def serve(self, seconds: float) -> None:
        """Hand on what has been said, waiting a while for the first word."""
        if self._connection is None:
            if wait([self._server], seconds):
                self._connection = Connection(self._server.accept()[0].detach())
            return
        while wait([self._connection], seconds):
            try:
                message = json.loads(self._connection.recv_bytes())
            except (EOFError, ConnectionResetError):
                self._connection.close()
                self._connection = None
                return
            self._take(message)
            seconds = 0

    def _take(self, message: dict[str, Any]) -> None:
        match message:
            case {"metrics": metrics, "step": step, "process": process}:
                self.process = process if step else self.process
                self.log(metrics, step)
            case {"note": text}:
                self.log.note(text)
            case {"progress": [done, total, unit]}:
                self.log.progress(done, total, unit)
            case {"saved": name, "files": files}:
                self._answer(lambda mirror: mirror.saved(name, self.workspace.parts / name, files))
            case {"dropped": name}:
                self._answer(lambda mirror: mirror.dropped(name))

    def _answer(self, act: Any) -> None:
        assert self._connection is not None and self.workspace.mirror is not None
        try:
            self.workspace.guard()
            act(self.workspace.mirror)
        except Exception as error:
            self.error = error
        said = None if self.error is None else str(self.error)
        self._connection.send_bytes(json.dumps({"error": said}).encode())


class WorkerChannel:
    """The main training process's end: a `Log`, and a `PartMirror` with nothing to give back."""

    def __init__(self, address: str) -> None:
        """Connect to the stage's socket."""
        stage = socket.socket(socket.AF_UNIX)
        stage.connect(address)
        self._connection = Connection(stage.detach())

    def __call__(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Send the metrics of a step to the stage."""
        self._say({"metrics": metrics, "step": step, "process": os.getpid()})

    def note(self, text: str) -> None:
        """Send a note to the stage, whose log shows it."""
        self._say({"note": text})

    def progress(self, done: int, total: int, unit: str) -> None:
        """Tell the stage how many of so many units are done."""
        self._say({"progress": [done, total, unit]})

    def available(self) -> list[str]:
        """Return nothing: the stage has fetched what there was."""
        return []

    def fetch(self, name: str, folder: Path) -> list[FileRecord]:
        """Never called, because nothing is available."""
        raise StageError(f"part {name} is not with the stage")

    def saved(self, name: str, folder: Path, files: list[FileRecord]) -> None:
        """Have a part copied to the remote; returns when it is whole there."""
        self._ask({"saved": name, "files": files})

    def dropped(self, name: str) -> None:
        """Have a part removed from the remote."""
        self._ask({"dropped": name})

    def _ask(self, message: dict[str, Any]) -> None:
        self._say(message)
        if error := json.loads(self._connection.recv_bytes())["error"]:
            raise StageError(f"the stage could not keep a part: {error}")

    def _say(self, message: dict[str, Any]) -> None:
        self._connection.send_bytes(json.dumps(message).encode())
