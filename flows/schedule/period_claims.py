"""Claims on a schedule's periods: each is worked on once, and one at a time per deployment.

Claims are numbered records that exactly one caller can write; the next number is free when the
last claim has ended. The inputs of a period are kept beside them, so that whoever takes it over
goes on with the same inputs.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from tasks.processes.identity import ProcessIdentity, current_process
from tasks.storage.digests import sha256_json
from tasks.storage.sealed import sealed_json, unsealed_json
from tasks.tracking.remote.base import Remote

_PAUSE_SECONDS = 5.0
_OPEN = ("failed", "waiting")
"""Ends of a claim after which its period is worked on again."""


class Skipped(Exception):
    """A scheduled run has nothing to do; the message says why."""


@dataclass(frozen=True, slots=True)
class PeriodClaim:
    """The right of one Prefect flow run to work on a period."""

    number: int
    """From 1."""
    period: str
    """The schedule's instant in UTC, or the flow run that somebody asked for by hand."""
    flow_run: str
    """Prefect's id of the flow run."""
    owner: dict[str, Any]
    """The process that works on it, as `ProcessIdentity.to_json` has it."""
    time: str
    """When it began, ISO 8601, UTC."""


@dataclass(frozen=True, slots=True)
class LastCompleted:
    """The newest scheduled run of a deployment that came to its end."""

    run: str
    """Its id in `sparring ls runs`."""
    basis: str
    """Digest of its configuration and data."""
    used: dict[str, str | None]
    """The models it started from by role; None for the configured ones."""
    made: dict[str, str]
    """`STAGE/KEY` of what it made, by role."""
    count: int
    """How many scheduled runs have come to their end, this one included."""


class PeriodClaims:
    """The claims of one deployment.

    Args:
        records: The folder or remote that every machine of the deployment writes to.
        name: The deployment's name as Prefect shows it, `FLOW/NAME`.
        is_gone: Tells whether the flow run of a claim that has not ended surely works no more.
    """

    def __init__(self, records: Remote, name: str, is_gone: Callable[[PeriodClaim], bool]) -> None:
        self._records = records
        self._folder = f"scheduled/{safe_name(name)}/"
        self._is_gone = is_gone

    def take(
        self, period: str, flow_run: str, *, wait: Callable[[str], None] | None
    ) -> PeriodClaim:
        """Claim a period for a flow run, of which a claim that it had before is taken over.

        `wait` is told once that the claim of another period is waited for; None: do not wait.

        Raises:
            Skipped: The period is done or being worked on, or another period is at work.
        """
        said = False
        while True:
            self._check_open(period)
            last = self._last()
            if last is not None and not self._is_over(last, flow_run):
                who = ProcessIdentity.from_json(last.owner)
                if last.period == period:
                    raise Skipped(f"the scheduled run {period} is at work already, in {who}")
                if wait is None:
                    raise Skipped(f"the scheduled run {last.period} is still at work in {who}")
                if not said:
                    wait(f"waits for the scheduled run {last.period}, which is at work in {who}")
                    said = True
                time.sleep(_PAUSE_SECONDS)
                continue
            number = last.number + 1 if last else 1
            claim = PeriodClaim(number, period, flow_run, current_process().to_json(), _now())
            if self._put(f"claims/{number:06d}.json", asdict(claim)):
                self._recheck(claim)
                return claim

    def period_of(self, flow_run: str) -> str | None:
        """Return the newest claim's period if it is this flow run's, which is being retried."""
        last = self._last()
        return last.period if last and last.flow_run == flow_run else None

    def waiting_period(self) -> str | None:
        """Return the period whose run waits for people, if the newest claim ended so."""
        last = self._last()
        ended = self._get(f"claims/{last.number:06d}.end.json") if last else None
        return last.period if last and ended and ended["state"] == "waiting" else None

    def end(
        self, claim: PeriodClaim, state: str, sentence: str, completed: LastCompleted | None = None
    ) -> None:
        """Write down how a claim ended; its period is done unless that was by an error.

        The state is `completed`, `nothing new`, `skipped`, `waiting` or `failed`; without
        `completed` the run before remains the newest, and the last two leave the period open.
        """
        values = {"state": state, "sentence": sentence, "time": _now(), "claim": claim.number}
        if state not in _OPEN:
            self._put(f"{claim.period}.end.json", values)
        completed = completed or self.last_completed(claim)
        kept = asdict(completed) if completed else None
        self._put(f"claims/{claim.number:06d}.end.json", {**values, "completed": kept})

    def last_completed(self, claim: PeriodClaim) -> LastCompleted | None:
        """Return the newest run before a claim that came to its end, or None."""
        for number in range(claim.number - 1, 0, -1):
            ended = self._get(f"claims/{number:06d}.end.json")
            if ended is not None:
                return LastCompleted(**ended["completed"]) if ended["completed"] else None
        return None

    def nothing_new_until(self, claim: PeriodClaim) -> int:
        """Return how many claims in a row, up to this one, ended without anything new."""
        for number in range(claim.number, 0, -1):
            ended = self._get(f"claims/{number:06d}.end.json")
            if ended is None or ended["state"] != "nothing new":
                return claim.number - number
        return claim.number

    def resolution(self, period: str) -> dict[str, Any] | None:
        """Return the inputs that were written down when a period was first begun, or None."""
        return self._get(f"{period}.json")

    def keep_resolution(self, period: str, values: dict[str, Any]) -> None:
        """Write down the inputs of a period; those of the first caller stay."""
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
            raise Skipped(f"the scheduled run {period} is done already: {ended['sentence']}")

    def _recheck(self, claim: PeriodClaim) -> None:
        """End a claim whose period was done by another between our look at it and the claim."""
        try:
            self._check_open(claim.period)
        except Skipped as reason:
            self.end(claim, "skipped", str(reason))
            raise

    def _is_over(self, claim: PeriodClaim, flow_run: str) -> bool:
        """Whether a claim is free to be followed; one that this flow run had before is its own."""
        if self._get(f"claims/{claim.number:06d}.end.json") is not None:
            return True
        owner = ProcessIdentity.from_json(claim.owner)
        if owner.is_local():
            return owner.is_known_dead()
        return claim.flow_run == flow_run or self._is_gone(claim)

    def _last(self) -> PeriodClaim | None:
        names = self._records.names(f"{self._folder}claims/")
        claims = [name for name in names if not name.endswith(".end.json")]
        if not claims:
            return None
        values = self._get(claims[-1].removeprefix(self._folder))
        return PeriodClaim(**values) if values else None

    def _put(self, name: str, values: dict[str, Any]) -> bool:
        return self._records.put_if_absent(self._folder + name, sealed_json(values).encode())

    def _get(self, name: str) -> dict[str, Any] | None:
        data = self._records.get(self._folder + name)
        if data is None:
            return None
        return unsealed_json(data, f"{self._records.url}/{self._folder}{name}")


def safe_name(name: str) -> str:
    """Return a name of a deployment as a folder may be called, different for different names."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")
    return plain if plain == name.replace("/", "-") else f"{plain}-{sha256_json(name)[:8]}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
