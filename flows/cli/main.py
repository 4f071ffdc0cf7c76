"""The command `sparring`.

Exit codes: 0 ok; 1 failed after it started; 2 usage or configuration; 3 drift or gate refused;
4 budget exhausted; 130 interrupted with state saved.
"""

from __future__ import annotations

from flows.cli.commands import (
    export,
    gold,
    inspection,
    judging,
    lineage,
    recurring,
    remote,
    retention,
    runs,
    servers,
    starting,
)
from flows.cli.commands.app import app
from flows.runs.console import quiet_libraries, show_warnings

# Their import registers the verbs.
_REGISTERED = (
    *(starting, runs, gold, inspection, judging, servers, lineage, remote),
    *(recurring, retention, export),
)


def main() -> None:
    """Run the command line; whatever it uses, only our own words are printed."""
    quiet_libraries()
    show_warnings()
    app()
