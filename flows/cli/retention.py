"""What `sparring pin`, `unpin` and `gc` do and print.

Outputs are deleted, manifests never: lineage, `why` and `plan` still answer, and an output that is
needed again comes from the remote or is made anew.
"""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import suppress
from dataclasses import asdict

import typer
from rich.console import Console

from flows.runs.console import print_json
from flows.runs.tables import table
from tasks.settings.errors import ConfigError, StageError
from tasks.settings.plurals import counted
from tasks.stages.retention.candidates import find_candidates
from tasks.stages.retention.operations import record_operation
from tasks.stages.retention.pins import Pin, list_pins, pin, unpin
from tasks.stages.retention.remote_sweep import sweep_remote
from tasks.stages.retention.roots import Policy
from tasks.stages.retention.sweep import Sweep, carry_out, sweep_lock
from tasks.stages.runs.naming import find_thing
from tasks.storage.errors import LockTimeoutError
from tasks.storage.home import Home, current_home
from tasks.tracking.remote.base import Remote
from tasks.tracking.remote.opening import open_remote, require_remote

_SHOWN = 20


def pin_named(name: str, note: str, console: Console, *, as_json: bool) -> None:
    """Pin an artifact or a run, named as for `find_thing`.

    Raises:
        ConfigError: Nothing, or more than one thing, is called so.
    """
    home = current_home()
    thing = find_thing(home, name)
    stage = "" if thing.is_run else thing.stage
    made = pin(home, "artifact" if stage else "run", thing.key, stage=stage, note=note)
    if as_json:
        print_json(made)
    short = made.name[:16] if stage else made.name  # runs of one hour begin alike
    console.print(f"pinned {_title(made)}; `sparring unpin {short}` takes the pin away")


def unpin_named(name: str, console: Console, *, as_json: bool) -> None:
    """Unpin an artifact or a run, named as for `find_thing`, or by the beginning of its pin.

    Raises:
        ConfigError: Nothing, or more than one thing, that begins so is pinned.
    """
    home = current_home()
    with suppress(ConfigError):  # what is pinned may be gone
        name = find_thing(home, name).key
    found = [one for one in list_pins(home) if one.name.startswith(name)]
    if len(found) != 1:
        known = ", ".join(_title(one) for one in list_pins(home)) or "nothing"
        problem = f"{len(found)} pins begin" if found else "nothing that is pinned begins"
        raise ConfigError(f"{problem} with {name!r}; pinned: {known}")
    unpin(home, found[0].name)
    record_operation(home, "unpin", _title(found[0]))
    if as_json:
        print_json(found[0])
    console.print(f"{_title(found[0])} is not pinned any more")


def collect_garbage(
    policy: Policy, console: Console, *, dry_run: bool, remote: bool, yes: bool, as_json: bool
) -> None:
    """Drop what nobody needs, with `remote` there too, after asking where no copy would be left.

    Raises:
        ConfigError: Last copies would go, and there is nobody to ask.
        StageError: Another gc is at work; or somebody works with the remote.
    """
    home = current_home()
    home.check_layout()
    place = require_remote() if remote else open_remote()
    if not home.root.is_dir() and not remote:
        _show(Sweep(), console, policy.trash_days, dry_run=True, as_json=as_json)
        return
    home.ensure()
    try:
        with sweep_lock(home):
            sweep = _sweep(home, place, policy, remote=remote, dry_run=True)
            if not dry_run and sweep.items:
                _confirm(sweep, console, yes=yes)
                where = f" here and on {place.url}" if remote and place else ""
                size = _bytes(sweep.size + sweep.trash_size)
                record_operation(home, "gc", f"{counted(len(sweep.items), 'item')}, {size}{where}")
                sweep = _sweep(home, place, policy, remote=remote, dry_run=False)
    except LockTimeoutError as error:
        raise StageError(f"another gc is at work: {error}") from error
    _show(sweep, console, policy.trash_days, dry_run=dry_run, as_json=as_json)


def _sweep(
    home: Home, place: Remote | None, policy: Policy, *, remote: bool, dry_run: bool
) -> Sweep:
    """Go over the home, and over the remote where that was asked for."""
    candidates, held = find_candidates(home, place, policy)
    sweep = carry_out(candidates, dry_run=dry_run)
    sweep.held[:0] = held
    if remote and place is not None:
        there = sweep_remote(home, place, policy, dry_run=dry_run)
        sweep.items += there.items
        sweep.held += there.held
    return sweep


def _confirm(sweep: Sweep, console: Console, *, yes: bool) -> None:
    """Ask before the last copy of a result goes."""
    if yes or not sweep.last_copies:
        return
    size = _bytes(sum(item.size for item in sweep.last_copies))
    later = " once they leave the trash" if sweep.trash_size else ""
    said = f"{len(sweep.last_copies)} results ({size}) would be gone for good{later}"
    if not sys.stdin.isatty():
        raise ConfigError(
            f"{said}: no copy of them is on a remote. Look with --dry-run, then give --yes; "
            "manifests stay, and the flow can make them again"
        )
    if not typer.confirm(f"{said}; they can only be made again. Drop them?"):
        raise typer.Exit(1)


def _show(sweep: Sweep, console: Console, days: float, *, dry_run: bool, as_json: bool) -> None:
    """Print what went, or would go, and what is held back."""
    if as_json:
        whole = {
            "dry_run": dry_run,
            "bytes": sweep.size,
            "trash_bytes": sweep.trash_size,
            "by_kind": _by_kind(sweep),
            "items": [asdict(item) for item in sweep.items],
            "held": [asdict(item) for item in sweep.held],
        }
        print_json(whole)
        return
    rows = [(item.kind, item.name, _bytes(item.size), item.why) for item in sweep.items]
    if rows:
        console.print(table(("", "what", "frees", "why"), rows[:_SHOWN]))
    if len(rows) > _SHOWN:
        console.print(f"… and {len(rows) - _SHOWN} more; --json lists all")
    if sweep.held:
        held = [(item.name, item.why) for item in sweep.held]
        console.print(table(("stays for now", "because"), held[:_SHOWN]))
    parts = ", ".join(f"{kind} {_bytes(size)}" for kind, size in _by_kind(sweep).items())
    verb = "would free" if dry_run else "freed"
    console.print(f"{verb} {_bytes(sweep.size)}{f': {parts}' if parts else ''}")
    if sweep.trash_size:
        goes = "would go" if dry_run else "went"
        console.print(
            f"{_bytes(sweep.trash_size)} {goes} to the trash, from where a run that needs them "
            f"takes them back; freed for good by a gc after {days:g} days, or with --trash-days 0"
        )


def _by_kind(sweep: Sweep) -> dict[str, int]:
    sizes: Counter[str] = Counter()
    for item in (one for one in sweep.items if not one.to_trash):
        sizes[item.kind] += item.size
    return dict(sizes)


def _title(one: Pin) -> str:
    return f"run {one.name}" if one.kind == "run" else f"{one.stage}/{one.name[:16]}"


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
