"""A local worker's process: makes one stage call after the other for the run that started it.

    python -m flows.placement.local_worker FD RUN

FD is a socket on which calls come and events go, one JSON object a line. RUN is the id of the run.
The process ends with the one that started it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from typing import Any

from tasks.processes.reaper import die_with_parent
from tasks.stages.runs.context import StageRecord, record_to_json


class _ChannelSink:
    """Passes what a stage says on to the run's process; a `ProgressSink`."""

    def __init__(self, send: _Channel) -> None:
        self._send = send

    def stage_started(self, record: StageRecord) -> None:
        """Do nothing: the run's process shows it."""

    def stage_finished(self, record: StageRecord) -> None:
        """Do nothing: the answer to the call contains it."""

    def progress(self, title: str, done: int, total: int, unit: str) -> None:
        """Pass the progress of a stage on."""
        self._send({"event": "progress", "values": [done, total, unit]})

    def metrics(self, title: str, values: Mapping[str, float], step: int | None) -> None:
        """Pass finite metrics on; JSON has no others, and the stage's own log keeps those."""
        finite = {name: value for name, value in values.items() if value - value == 0}
        self._send({"event": "metrics", "values": [finite, step]})

    def note(self, title: str, text: str) -> None:
        """Pass a sentence about a stage on."""
        self._send({"event": "note", "values": [text]})


class _Channel:
    """Writes events to the run's process, one JSON object a line, from any thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._lock = connection, threading.Lock()

    def __call__(self, event: Mapping[str, Any]) -> None:
        line = json.dumps(event).encode() + b"\n"
        with self._lock:
            self._connection.sendall(line)


def main() -> None:
    """Serve until the other side hangs up."""
    die_with_parent(signal.SIGTERM)
    connection = socket.socket(fileno=int(sys.argv[1]))
    if os.getppid() == 1:  # the other side died before that was set
        return
    send = _Channel(connection)
    with connection.makefile("r", encoding="utf-8") as calls:
        for line in calls:
            send(_answer(json.loads(line), sys.argv[2], send))


def _answer(description: Mapping[str, Any], run: str, send: _Channel) -> dict[str, Any]:
    """Make one call and say how it ended."""
    try:
        record = _make(description, run, send)
    except BaseException as error:
        state = "failed" if isinstance(error, Exception) else "interrupted"
        name, message = type(error).__name__, str(error) or repr(error)
        answer = {"event": "done", "state": state, "error": name, "message": message}
        if state == "interrupted":
            # Asked to end: the run's process hears it, and no further call is taken.
            send(answer)
            raise SystemExit(130) from error
        return answer
    return {"event": "done", **record_to_json(record)}


def _make(description: Mapping[str, Any], run: str, send: _Channel) -> StageRecord:
    from flows.placement.stage_flow import recorded, stage_named
    from tasks.stages.remote.call_message import rebuild_call
    from tasks.stages.runs.context import RunContext, entered
    from tasks.stages.stage import call_stage
    from tasks.storage.home import current_home
    from tasks.tracking.remote.opening import open_remote

    home, remote = current_home().ensure(), open_remote()
    call = rebuild_call(description, stage_named(str(description["stage"])).spec, home)
    with recorded(home, remote, run) as spool:
        context = RunContext(
            home,
            run,
            spool=spool,
            remote=remote,
            progress=_ChannelSink(send),
            leases_gpus=False,
        )
        with entered(context):
            return call_stage(call)[1]


if __name__ == "__main__":
    main()
