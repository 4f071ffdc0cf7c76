"""What paid servers were asked and what it cost, by run, stage and model: read from the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from flows.runs.console import print_json
from flows.runs.tables import columns
from tasks.endpoints.answers import Outcome
from tasks.endpoints.ledger import Entry, Ledger
from tasks.endpoints.prices import Charge, dollars_text
from tasks.stages.runs.naming import find_run
from tasks.stages.runs.states import STATES
from tasks.storage.home import current_home


@dataclass(slots=True)
class CostLine:
    """What one stage of a run asked one model for."""

    run: str
    """The run; empty outside of any."""
    stage: str
    """The stage."""
    model: str
    """Who was asked."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """Requests by how they ended; "unknown" are those that nobody heard of again."""
    charge: Charge = Charge()
    """What they cost, unknown ones at their worst."""
    unknown: Charge = Charge()
    """How much of it is for calls whose outcome is not known."""

    def add(self, entry: Entry) -> None:
        """Count a request."""
        self.outcomes[str(entry.outcome or "unknown")] += 1
        self.charge += entry.charge
        if entry.outcome is None or entry.outcome.billing == "worst":
            self.unknown += entry.charge

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "run": self.run,
            "stage": self.stage,
            "model": self.model,
            "requests": self.outcomes.total(),
            "answered": self.outcomes[Outcome.answered],
            "outcomes": dict(self.outcomes),
            **self.charge._asdict(),
            "unknown": self.unknown._asdict(),
        }


def cost_lines(entries: Iterable[Entry]) -> list[CostLine]:
    """Add requests up by run, stage and model, in the order of their first."""
    found: dict[tuple[str, str, str], CostLine] = {}
    for entry in entries:
        place = (entry.account.run, entry.account.stage, entry.model)
        found.setdefault(place, CostLine(*place)).add(entry)
    return list(found.values())


def show_cost(name: str | None, console: Console, *, as_json: bool) -> None:
    """Print what a run, or all of them, paid; nothing at all is said too.

    Raises:
        ConfigError: No run is called so.
        CorruptError: The ledger is damaged.
    """
    home = current_home()
    run = find_run(home, name, latest=tuple(STATES)).id if name else None
    entries = Ledger(home.ledger).entries()
    lines = cost_lines(one for one in entries if run in (None, one.account.run))
    total = sum((line.charge for line in lines), Charge())
    if as_json:
        plain = [line.to_json() for line in lines]
        print_json({"run": run, "lines": plain, "total": total._asdict()})
        return
    if not lines:
        whose = f"run {run}" if run else "any run here"
        console.print(f"no paid server was asked by {whose}", highlight=False)
        return
    console.print(columns([_row(line) for line in lines], folded={"stage", "model"}))
    console.print(
        f"{dollars_text(total.dollars)} and {total.tokens:,} tokens in all", highlight=False
    )


def _row(line: CostLine) -> dict[str, object]:
    return {
        "run": line.run,
        "stage": line.stage,
        "model": line.model,
        "requests": f"{line.outcomes.total():,}",
        "answered": f"{line.outcomes[Outcome.answered]:,}",
        "tokens": f"{line.charge.tokens:,}",
        "dollars": dollars_text(line.charge.dollars),
        "of it unknown": dollars_text(line.unknown.dollars) if line.unknown.dollars else "",
    }
