"""`python -m flows.cli` is `sparring`, also where no script was installed."""

from __future__ import annotations

from flows.cli.main import main

main()
