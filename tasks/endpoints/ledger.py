"""The ledger of paid work: what was asked, what it cost, and every answer: none is bought twice.

One journal for all runs that share a state folder. An intent is on the disk before its request is
sent; a settlement follows the answer. What has no settlement has an unknown outcome and counts as
spent at its worst. Only answers count as answered: a failed request may be sent again.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from tasks.endpoints.answers import Answer, Outcome
from tasks.endpoints.prices import Budget, Charge
from tasks.storage.errors import CorruptError
from tasks.storage.journal import append_record, mend_tail, read_new_records
from tasks.storage.locks import FileLock

LEDGER_FILE = "paid.journal"
_LOCK_FILE = "paid.lock"
_LONGEST_BODY = 20_000
"""Characters of a useless answer that are kept."""


class Account(NamedTuple):
    """On whose behalf a call is made."""

    run: str = ""
    """The flow run."""
    stage: str = ""
    """The stage's name."""
    work: str = ""
    """What a budget is for: one piece of work, over all attempts and runs that do it."""


NOBODY = Account()
"""Who asks outside of any run."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One request that was, or was about to be, sent."""

    id: str
    """Its own."""
    key: str
    """Of the request, which its repetitions share."""
    account: Account
    """Who asked."""
    model: str
    """Who was asked."""
    time: str
    """When, UTC."""
    charge: Charge
    """What it counts as: the worst until it is settled."""
    outcome: Outcome | None = None
    """How it ended; None while nobody knows."""


class OverBudgetError(Exception):
    """A call might pass the budget."""

    def __init__(self, spent: Charge) -> None:
        """Take what is spent already, open calls at their worst included."""
        super().__init__("over budget")
        self.spent = spent


@dataclass(slots=True)
class _State:
    """What the records read so far say."""

    end: int = 0
    answers: dict[str, Answer] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    open: dict[str, Entry] = field(default_factory=dict)
    settled: dict[str, Charge] = field(default_factory=dict)

    def spent(self, work: str) -> Charge:
        """Return what is settled of a piece of work, and the worst of what is open."""
        found = self.settled.get(work, Charge())
        for entry in self.open.values():
            if entry.account.work == work:
                found += entry.charge
        return found


class Ledger:
    """The ledger in a folder; threads and processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        """Open it; a torn end, which a kill left, is cut off.

        Raises:
            CorruptError: It is damaged otherwise, naming the place.
        """
        self.path = Path(folder) / LEDGER_FILE
        self._lock_path = Path(folder) / _LOCK_FILE
        # Threads wait here, as the lock between processes is asked for in steps.
        self._mutex = threading.Lock()
        self._state = _State()
        mend_tail(self.path)
        with self._mutex:
            self._refresh()

    def answer(self, key: str) -> Answer | None:
        """Return the answer to a request that was answered, by whomever and whenever."""
        with self._mutex:
            self._refresh()
            return self._state.answers.get(key)

    def answers(self, keys: list[str]) -> dict[str, Answer]:
        """Return those of the requests that were answered, by key."""
        with self._mutex:
            self._refresh()
            known = self._state.answers
            return {key: known[key] for key in keys if key in known}

    def entries(self) -> Iterator[Entry]:
        """Yield every request in the order in which they were first written."""
        with self._mutex:
            self._refresh()
            return iter(list(self._state.entries.values()))

    def spent(self, work: str) -> Charge:
        """Return what a piece of work has cost, open requests at their worst."""
        with self._mutex:
            self._refresh()
            return self._state.spent(work)

    def reserve(
        self, key: str, account: Account, model: str, worst: Charge, budget: Budget
    ) -> str | Answer:
        """Write down that a request is about to be sent; on return that survives a power cut.

        Args:
            key: The request's.
            account: Who asks; the budget is that of its `work`.
            model: Who is asked.
            worst: The most that the call may cost.
            budget: What all calls of this work together may cost.

        Returns:
            The id to settle it by; or the answer, if somebody got it meanwhile.

        Raises:
            OverBudgetError: It might pass the budget; nothing is written then.
            DiskError: The disk refuses; do not send.
        """
        with self._mutex, FileLock(self._lock_path):
            self._refresh()
            if (known := self._state.answers.get(key)) is not None:
                return known
            spent = self._state.spent(account.work)
            if not budget.admits(spent, worst):
                raise OverBudgetError(spent)
            identity = secrets.token_hex(8)
            record = {
                "intent": identity,
                "key": key,
                "model": model,
                "dollars": worst.dollars,
                "tokens": worst.tokens,
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                **account._asdict(),
            }
            append_record(self.path, record)
            self._refresh()
        return identity

    def settle(
        self,
        identity: str,
        outcome: Outcome,
        charge: Charge,
        answer: Answer | None = None,
        body: str = "",
    ) -> None:
        """Write down how a call ended and what it cost.

        Args:
            identity: What `reserve` returned.
            outcome: How it ended.
            charge: What it cost, or is counted as.
            answer: The answer, which answers the request for good.
            body: What came instead of one; its beginning is kept.
        """
        record: dict[str, Any] = {
            "settled": identity,
            "outcome": str(outcome),
            "dollars": charge.dollars,
            "tokens": charge.tokens,
        }
        if answer is not None:
            # What a server sends may hold half a character, which no file can.
            record["answer"] = {**answer._asdict(), "text": _encodable(answer.text)}
        if body:
            record["body"] = _encodable(body[:_LONGEST_BODY])
        with self._mutex:
            append_record(self.path, record)
            self._refresh()

    def bodies(self) -> Iterator[tuple[Entry, str]]:
        """Yield the requests that brought something useless, and what that was."""
        known = {entry.id: entry for entry in self.entries()}
        for record in read_new_records(self.path, 0)[0]:
            if "body" in record:
                yield known[record["settled"]], record["body"]

    def _refresh(self) -> None:
        """Take notice of what was written since, by others too."""
        records, self._state.end = read_new_records(self.path, self._state.end)
        for record in records:
            try:
                self._take(record)
            except (KeyError, TypeError, ValueError) as error:
                raise CorruptError(
                    f"{self.path} holds a record that is none of a ledger ({error!r}): restore it"
                ) from error

    def _take(self, record: dict[str, Any]) -> None:
        state, charge = self._state, Charge(record["dollars"], record["tokens"])
        if "intent" in record:
            account = Account(record["run"], record["stage"], record["work"])
            entry = Entry(
                record["intent"], record["key"], account, record["model"], record["time"], charge
            )
            state.open[entry.id] = entry
        else:
            entry = state.open.pop(record["settled"])
            entry = replace(entry, charge=charge, outcome=Outcome(record["outcome"]))
            work = entry.account.work
            state.settled[work] = state.settled.get(work, Charge()) + charge
            if answer := record.get("answer"):
                state.answers.setdefault(entry.key, Answer(**answer))
        state.entries[entry.id] = entry


def _encodable(text: str) -> str:
    return text.encode("utf-8", errors="replace").decode("utf-8")
