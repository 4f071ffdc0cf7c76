"""Who may run a tick: one at a time per deployment, and once per period however often it fires.

Turns are numbered records that exactly one caller can write; the next is free when the last is
over. What a period was resolved to is kept, so that whoever takes it over goes on with the same.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from tasks.processes.identity import ProcessIdentity, current_process
from tasks.storage.digests import sha256_json
from tasks.storage.errors import CorruptError
from tasks.storage.plain import json_text
from tasks.tracking.remote.base import Remote

_PAUSE_SECONDS = 5.0


class Skipped(Exception):
    """This tick has nothing to do; the message says why."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The right of one Prefect flow run to work on a period."""

    number: int
    """From 1."""
    period: str
    """Which tick: its instant in UTC, or the flow run that was asked for by hand."""
    flow_run: str
    """Prefect's id of the flow run."""
    owner: dict[str, Any]
    """The process."""
    time: str
    """When it began, ISO 8601, UTC."""


@dataclass(frozen=True, slots=True)
class Trained:
    """The newest tick of a deployment that trained to its end."""

    run: str
    """Our id of its run."""
    basis: str
    """Digest of its configuration and data."""
    used: dict[str, str | None]
    """The models it started from by role; None for the configured ones."""
    made: dict[str, str]
    """`STAGE/KEY` of what it made, by role."""
    count: int
    """How many ticks trained to their end, this one included."""


class Turns:
    """The turns of one deployment.

    Args:
        records: what every machine agrees on.
        name: of the deployment, with its flow.
        is_gone: whether the flow run of a turn without an end surely works no more.
    """

    def __init__(self, records: Remote, name: str, is_gone: Callable[[Turn], bool]) -> None:
        self._records = records
        self._folder = f"ticks/{safe_name(name)}/"
        self._is_gone = is_gone

    def take(self, period: str, flow_run: str, *, wait: Callable[[str], None] | None) -> Turn:
        """Get the next turn.

        Args:
            period: of the tick.
            flow_run: Prefect's id of the flow run; a turn that it had before is taken over.
            wait: told about a turn of another period that is waited for; None: do not wait.

        Raises:
            Skipped: the period is done, is being worked on, or another tick is at work.
        """
        said = False
        while True:
            self._check_open(period)
            last = self._last()
            if last is not None and not self._is_over(last, flow_run):
                who = ProcessIdentity.from_json(last.owner)
                if last.period == period:
                    raise Skipped(f"the tick {period} is being run by {who}")
                if wait is None:
                    raise Skipped(f"the tick {last.period} is still at work in {who}")
                if not said:
                    wait(f"waiting for the tick {last.period}, which is at work in {who}")
                    said = True
                time.sleep(_PAUSE_SECONDS)
                continue
            number = last.number + 1 if last else 1
            turn = Turn(number, period, flow_run, current_process().to_json(), _now())
            if self._put(f"turns/{number:06d}.json", asdict(turn)):
                self._recheck(turn)
                return turn

    def period_of(self, flow_run: str) -> str | None:
        """Return the period of the newest turn if a flow run had it: it is being retried."""
        last = self._last()
        return last.period if last and last.flow_run == flow_run else None

    def end(self, turn: Turn, state: str, sentence: str, trained: Trained | None = None) -> None:
        """Write down how a turn ended; after `completed` and `nothing new` its period is done."""
        values = {"state": state, "sentence": sentence, "time": _now(), "turn": turn.number}
        if state != "failed":
            self._put(f"{turn.period}.end.json", values)
        trained = trained or self.last_trained(turn)
        kept = asdict(trained) if trained else None
        self._put(f"turns/{turn.number:06d}.end.json", {**values, "trained": kept})

    def last_trained(self, turn: Turn) -> Trained | None:
        """Return the newest tick before a turn that trained to its end, or None."""
        for number in range(turn.number - 1, 0, -1):
            ended = self._get(f"turns/{number:06d}.end.json")
            if ended is not None:
                return Trained(**ended["trained"]) if ended["trained"] else None
        return None

    def resolution(self, period: str) -> dict[str, Any] | None:
        """Return what a period was resolved to when it was first begun, or None."""
        return self._get(f"{period}.json")

    def keep_resolution(self, period: str, values: dict[str, Any]) -> None:
        """Write down what a period is resolved to; the first to say so is right."""
        self._put(f"{period}.json", values)

    def run_of(self, period: str) -> str | None:
        """Return our id of the run that worked on a period, or None."""
        found = self._get(f"{period}.run.json")
        return str(found["run"]) if found else None

    def keep_run(self, period: str, run: str) -> None:
        """Write down which run works on a period."""
        self._put(f"{period}.run.json", {"run": run})

    def _check_open(self, period: str) -> None:
        ended = self._get(f"{period}.end.json")
        if ended is not None:
            raise Skipped(f"the tick {period} is done already: {ended['sentence']}")

    def _recheck(self, turn: Turn) -> None:
        """Give a turn back whose period was ended between the look at it and the turn."""
        try:
            self._check_open(turn.period)
        except Skipped as reason:
            self.end(turn, "skipped", str(reason))
            raise

    def _is_over(self, turn: Turn, flow_run: str) -> bool:
        """Whether nobody works on a turn; one that this flow run had before is its own."""
        if self._get(f"turns/{turn.number:06d}.end.json") is not None:
            return True
        owner = ProcessIdentity.from_json(turn.owner)
        if owner.is_local():
            return owner.is_known_dead()
        return turn.flow_run == flow_run or self._is_gone(turn)

    def _last(self) -> Turn | None:
        names = self._records.names(f"{self._folder}turns/")
        turns = [name for name in names if not name.endswith(".end.json")]
        if not turns:
            return None
        values = self._get(turns[-1].removeprefix(self._folder))
        return Turn(**values) if values else None

    def _put(self, name: str, values: dict[str, Any]) -> bool:
        data = (json_text(values, indent=1) + "\n").encode()
        return self._records.put_if_absent(self._folder + name, data)

    def _get(self, name: str) -> dict[str, Any] | None:
        data = self._records.get(self._folder + name)
        if data is None:
            return None
        try:
            return dict(json.loads(data))
        except ValueError as error:
            raise CorruptError(f"{self._records.url}/{self._folder}{name} is damaged") from error


def safe_name(name: str) -> str:
    """Return a name of a deployment as a folder may be called, different for different names."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")
    return plain if plain == name.replace("/", "-") else f"{plain}-{sha256_json(name)[:8]}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
