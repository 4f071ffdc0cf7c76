"""The run's side of a local worker: its process, the socket to it, and the GPUs that it holds."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tasks.stages.leases.gpus import VISIBLE, HeldGpus
from tasks.stages.runs.context import RunContext

_ROOT = Path(__file__).resolve().parents[2]


class LocalWorker:
    """One worker process, and the socket to it.

    It holds the given GPUs until it ends, and sees no others; `count` of them share the cores.
    """

    def __init__(self, run: RunContext, count: int, gpus: HeldGpus) -> None:
        self.gpus = len(gpus.names)
        ours, theirs = socket.socketpair()
        threads = str(max(1, (os.cpu_count() or 1) // count))
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        with ours, theirs:
            module, socket_number = "flows.placement.local_worker", theirs.fileno()
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, str(socket_number), run.run_id],
                pass_fds=[socket_number, *gpus.descriptors],
                stdin=subprocess.DEVNULL,
                # Ctrl-C reaches it through us, once: a second signal would not let it save.
                start_new_session=True,
                env={
                    "OMP_NUM_THREADS": threads,
                    **os.environ,
                    VISIBLE: ",".join(gpus.names),
                    "SPARRING_HOME": str(run.home.root),
                    "SPARRING_REMOTE": run.remote.url if run.remote else "",
                    # Without the current folder, where a `datasets.py` would hide the library.
                    "PYTHONSAFEPATH": "1",
                    "PYTHONPATH": path,
                },
            )
            self._lines = ours.makefile("rw", encoding="utf-8")

    def make(
        self, description: dict[str, Any], on_event: Callable[[str, list[Any]], None]
    ) -> dict[str, Any] | None:
        """Have one call made; return `state` and what belongs to it, None when the process died.

        The call is as `describe_call` says; `on_event` is told each event's name and values.
        """
        try:
            self._lines.write(json.dumps(description) + "\n")
            self._lines.flush()
            for line in self._lines:
                event = json.loads(line)
                if event["event"] == "done":
                    return dict(event)
                on_event(event["event"], event["values"])
        except (BrokenPipeError, ConnectionResetError):
            pass
        self.process.wait()
        return None

    def death(self) -> str:
        """Say how the process ended."""
        code = self.process.wait()
        return f"its process ended by signal {-code}" if code < 0 else f"its process ended ({code})"

    def close(self) -> None:
        """Hang up, and wait for the process to end."""
        with suppress(BrokenPipeError):  # what it never read, as it died, is still to be written
            self._lines.close()
        self.process.wait()
