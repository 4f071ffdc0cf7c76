"""What a rehearsal says in the terminal, and as one document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.text import Text

from flows.rehearsal.rehearsal import Rehearsal
from flows.rehearsal.work import Need
from flows.runs.tables import table
from flows.runs.terminal import span

_GB = 1e9
_AS_MUCH = 0.5
"""Share of the run's time from which on its rehearsal is said to cost as much."""


def show_rehearsal(found: Rehearsal, console: Console, price: float | None) -> None:
    """Print what failed and where, then what the real run needs and costs.

    Args:
        found: The rehearsal.
        console: Where to.
        price: Dollars of one device and hour, if the user said it.
    """
    rows = [_row(need, found) for need in _largest(found.needs)]
    console.print(table(("for each process of", "GB", "of which", "processes"), rows))
    for line in _projection(found, price):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    ran, missed = found.performance.records, found.performance.missed
    console.print(f"{len(ran)} stages rehearsed, {len(missed)} not reached", highlight=False)
    if found.performance.report is not None:
        console.print(
            "the report was written; of random models it says nothing, so it is not shown"
        )
    for failure in found.failures:
        said = Text.assemble(("✗ ", "red"), f"{failure.where}: {failure.why}")
        console.print(said, soft_wrap=True)
    if not found.failures:
        console.print(Text.assemble(("✓ ", "green"), "nothing would have failed"))


def rehearsal_json(found: Rehearsal, price: float | None) -> dict[str, Any]:
    """Return a rehearsal as plain values; bytes and seconds."""
    return {
        "failures": [failure._asdict() for failure in found.failures],
        "stages": [record.title for record in found.performance.records],
        "missed": found.performance.missed,
        "machine": found.machine._asdict() | {"judged": found.is_judged},
        "needs": [
            {
                "stage": need.title,
                "where": need.where,
                "processes": need.processes,
                "memory": {name: one.parts() for name, one in need.models.items()},
                "seconds": need.seconds,
                "overhead": need.overhead,
                "stored": need.stored,
                "working": need.working,
            }
            for need in found.needs
        ],
        "hours": found.hours,
        "device_hours": found.device_hours,
        "rehearsed_hours": found.rehearsed,
        "dollars": price and found.device_hours * price,
        "paid_calls": 0,
        "stored": found.stored,
        "working": found.working,
        "disk": found.disk,
        "unknown_sizes": found.unknown,
    }


def _largest(needs: list[Need]) -> list[Need]:
    """Return of the stages that need the same memory the first one, the largest first."""
    first: dict[tuple[str, float, int], Need] = {}
    for need in needs:
        if need.models:
            kind = need.title.split(" · ")[0]
            first.setdefault((kind, round(need.memory), need.processes), need)
    return sorted(first.values(), key=lambda need: -need.memory)


def _row(need: Need, found: Rehearsal) -> tuple[object, ...]:
    named = len(need.models) > 1
    parts = [
        f"{name if named else part} {size / _GB:.3g}"
        for name, one in need.models.items()
        for part, size in ({"": one.total} if named else one.parts()).items()
    ]
    size = Text(f"{need.memory / _GB:.3g}")
    if found.is_judged and need.memory > found.machine.memory:
        size.stylize("red")
    return need.title, size, ", ".join(parts), need.processes


def _projection(found: Rehearsal, price: float | None) -> Iterator[str]:
    machine = found.machine
    has = f"{machine.name} has {machine.memory / _GB:.3g} GB for a process"
    if not found.is_judged:
        has = "what the pool's devices have is not known here: name one by --device to compare"
    yield f"memory: {has}"
    overhead = sum(need.overhead for need in found.needs)
    arithmetic = f"{span(3600 * found.hours - overhead)} of arithmetic on {machine.name}"
    hours = f"about {span(3600 * found.hours)}, stage after stage: {arithmetic}"
    hours += f", {span(overhead)} beside it, as long as the rehearsal's stages took"
    if found.unknown:
        hours += f" (counting only the rows read of {', '.join(found.unknown)})"
    yield f"time: {hours}; {span(3600 * found.device_hours)} of one device"
    if found.rehearsed > _AS_MUCH * found.hours:
        took = span(3600 * found.rehearsed)
        yield f"rehearsing took {took}: so small a run costs about as much as its rehearsal"
    bill = "no paid calls"
    if found.pays:
        bill = "no paid calls here; `sparring gold estimate` says what the run's will cost"
    if price is not None:
        bill = f"{found.device_hours * price:,.0f} dollars of devices at {price:g} an hour; {bill}"
    yield f"bill: about {bill}" if price is not None else f"bill: {bill}"
    yield (
        f"disk: {found.stored / _GB:.3g} GB stay, {found.working / _GB:.3g} GB more for "
        f"checkpoints; {found.disk / _GB:.0f} GB are free"
    )
