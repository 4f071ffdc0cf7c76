"""The process of the command `sparring`, also started by `python -m flows.cli`.

Whichever signal stops it and whenever, it ends the same way; and it ends at all: what other
libraries still wait for at their exit, such as a server that is gone, is not waited for long.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType

_LAST_SECONDS = 5.0
"""From the end of our own work to the end of the process, at the most."""


def entry() -> None:
    """Run the command line in a process of its own."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end_at_once)
    # Behind the handlers, as each import takes time in which a signal may come.
    from tasks.processes.termination import stop_alike

    stop_alike()
    code = 1
    try:
        from flows.cli.main import main  # takes a second, in which a signal may come

        main()
        code = 0
    except KeyboardInterrupt:
        print("sparring: stopped", file=sys.stderr)
        code = 130
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        _end(code)
    sys.exit(code)


def _end_at_once(number: int, frame: FrameType | None) -> None:
    """End before anything was begun."""
    os.write(2, b"sparring: stopped\n")
    os._exit(130)


def _end(code: int) -> None:
    """Let nothing keep or disturb the rest of this process, which is the interpreter's exit."""
    from tasks.processes.termination import handle_stops

    handle_stops(signal.SIG_IGN)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    last = threading.Timer(_LAST_SECONDS, os._exit, [code])
    last.daemon = True
    last.start()


if __name__ == "__main__":
    entry()
