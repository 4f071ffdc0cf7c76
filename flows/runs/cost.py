"""What runs cost: of paid servers by run, stage and model, and hours by run, epoch and method."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from flows.configs.recurring import RunBudget
from flows.runs.console import print_json
from flows.runs.tables import columns
from flows.runs.terminal import span
from tasks.endpoints.accounts import Entry
from tasks.endpoints.answers import Outcome
from tasks.endpoints.ledger import Ledger
from tasks.endpoints.prices import Charge, dollars_text
from tasks.stages.key import stage_title
from tasks.stages.runs.naming import find_run
from tasks.stages.runs.run_journal import stage_ends, stage_events
from tasks.stages.runs.run_store import list_runs
from tasks.stages.runs.states import STATES
from tasks.stages.runs.usage import Usage, read_usage
from tasks.storage.home import Home, current_home
from tasks.tracking.remote.opening import open_remote

_TOLD_SHARE = 0.8
"""From this share of a cap on it is said how much is used."""


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


@dataclass(slots=True)
class CostPart:
    """What a run, or a part of one, took."""

    name: str
    """A run; or an epoch of a method, a paid stage, all other stages of one name."""
    hours: float = 0.0
    """Hours that a run worked, or that its stages took."""
    gpu_hours: float = 0.0
    """The same for each GPU that was held."""
    requests: int = 0
    """Requests to paid servers."""
    charge: Charge = Charge()
    """What they cost, unknown ones at their worst."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        times = {"name": self.name, "hours": self.hours, "gpu_hours": self.gpu_hours}
        return {**times, "requests": self.requests, **self.charge._asdict()}


def parts_of_run(home: Home, run_id: str, entries: Iterable[Entry]) -> list[CostPart]:
    """Return what each epoch of each method took, or each stage outside of any."""
    paid: dict[str, list[Entry]] = {}
    for entry in entries:
        paid.setdefault(entry.account.call, []).append(entry)
    found: dict[str, CostPart] = {}
    for event in stage_ends(stage_events(home, run_id)):
        own = paid.pop(event["key"], [])
        title = stage_title(event["stage"], event["label"])
        name = event.get("chapter") or (title if own else event["stage"])
        part = found.setdefault(name, CostPart(name))
        part.hours += event["seconds"] / 3600
        part.gpu_hours += event["seconds"] * event.get("gpus", 0) / 3600
        _add_paid(part, own)
    if left := [entry for some in paid.values() for entry in some]:
        _add_paid(found.setdefault("unfinished", CostPart("unfinished")), left)
    return list(found.values())


def parts_by_run(home: Home, entries: Iterable[Entry]) -> list[CostPart]:
    """Return what each run took, those of other machines that share the ledger too."""
    found = {run.id: CostPart(run.id, *read_usage(home, run.id)) for run in list_runs(home)}
    for entry in entries:
        run = entry.account.run
        _add_paid(found.setdefault(run, CostPart(run)), [entry])
    return list(found.values())


def told_shares(budget: RunBudget, used: Mapping[str, float]) -> dict[str, str]:
    """Return by cap a sentence on each of which 80 % or more is used.

    Example:
        >>> told_shares(RunBudget(hours=2, dollars=5), {"hours": 1.7, "dollars": 1.0})
        {'hours': '1.7 of 2 hours are used, 85 % of the budget'}
    """
    found = {}
    for name, cap in budget.model_dump().items():
        if cap is not None and used.get(name, 0.0) >= _TOLD_SHARE * cap:
            unit = name.replace("gpu_", "GPU ")
            if not cap:
                found[name] = f"the budget has no {unit}: nothing may be used of them"
                continue
            words = f"{used[name]:,.4g} of {cap:,g} {unit}"
            if name == "dollars":
                words = f"{dollars_text(used[name])} of {dollars_text(cap)}"
            found[name] = f"{words} are used, {100 * used[name] / cap:.0f} % of the budget"
    return found


def budget_sentences(home: Home, run_id: str, config: object) -> list[str]:
    """Return a sentence for each cap of a run of which 80 % or more is used."""
    paid = Ledger(home.ledger).spent_by(run_id)
    used = {**paid._asdict(), **read_usage(home, run_id)._asdict()}
    return list(told_shares(getattr(config, "budget", RunBudget()), used).values())


def show_cost(name: str | None, console: Console, *, as_json: bool) -> None:
    """Print what a run, or each of them, took and paid; nothing at all is said too.

    Raises:
        ConfigError: No run is called so.
        CorruptError: The ledger is damaged.
    """
    home = current_home()
    run = find_run(home, name, latest=tuple(STATES)).id if name else None
    ledger = Ledger(home.ledger, open_remote())
    entries = [one for one in ledger.entries() if run in (None, one.account.run)]
    lines = cost_lines(entries)
    parts = parts_of_run(home, run, entries) if run else parts_by_run(home, entries)
    hours = Usage(sum(one.hours for one in parts), sum(one.gpu_hours for one in parts))
    hours = read_usage(home, run) if run else hours
    total = sum((line.charge for line in lines), Charge())
    if as_json:
        plain = [line.to_json() for line in lines]
        totals = {**total._asdict(), **hours._asdict()}
        told = {"run": run, "lines": plain, "parts": [one.to_json() for one in parts]}
        print_json({**told, "total": totals})
        return
    if parts:
        console.print(columns([_part_row(one) for one in parts], folded={""}))
    if lines:
        console.print(columns([_row(line) for line in lines], folded={"stage", "model"}))
    else:
        whose = f"run {run}" if run else "any run here"
        console.print(f"no paid server was asked by {whose}", highlight=False)
    paid = f"{dollars_text(total.dollars)} and {total.tokens:,} tokens"
    held = f"{span(3600 * hours.gpu_hours)} of GPUs, " if hours.gpu_hours else ""
    console.print(f"{span(3600 * hours.hours)}, {held}{paid} in all", highlight=False)


def _add_paid(part: CostPart, entries: list[Entry]) -> None:
    part.requests += len(entries)
    part.charge = sum((entry.charge for entry in entries), part.charge)


def _part_row(part: CostPart) -> dict[str, object]:
    return {
        "": part.name,
        "time": span(3600 * part.hours),
        "of GPUs": span(3600 * part.gpu_hours) if part.gpu_hours else "",
        "requests": f"{part.requests:,}" if part.requests else "",
        "tokens": f"{part.charge.tokens:,}" if part.requests else "",
        "dollars": dollars_text(part.charge.dollars) if part.requests else "",
    }


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
