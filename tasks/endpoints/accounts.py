"""Who pays for which call, and what all calls together come to: the state of a ledger."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from tasks.endpoints.answers import Answer, Outcome
from tasks.endpoints.prices import Budget, Charge


class Account(NamedTuple):
    """On whose behalf a call is made."""

    run: str = ""
    """The flow run."""
    stage: str = ""
    """The stage's name."""
    work: str = ""
    """What a budget is for: one piece of work, over all attempts and runs that do it."""
    call: str = ""
    """Key of the call of the stage."""


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
    host: str = ""
    """The server's name."""

    @property
    def asked_at(self) -> float:
        """When, seconds of the epoch."""
        return datetime.fromisoformat(self.time).timestamp()


@dataclass(slots=True)
class LedgerState:
    """What the records of a ledger say; `take` them in the order in which they were written."""

    answers: dict[str, Answer] = field(default_factory=dict)
    """Answers by the request's key, those that were cut off among them."""
    entries: dict[str, Entry] = field(default_factory=dict)
    """Every request by its own id."""
    caps: dict[str, Budget] = field(default_factory=dict)
    """The most that a run may spend, by its id."""
    positions: dict[str, int] = field(default_factory=dict)
    """Number of the newest batch that was taken of each shared log, by its address."""
    shares: bool = False
    """Whether there is a shared log, which has to get what it lacks."""
    unshared: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """What it lacks: records in order, by their kind and id."""
    _open: dict[str, Entry] = field(default_factory=dict)
    _settled: dict[tuple[str, str], Charge] = field(default_factory=dict)
    """By piece of work, and by run."""
    _asked: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """Ids of the requests to each model of a host."""

    def spent(self, work: str, pending: Sequence[Entry] = ()) -> Charge:
        """Return what is settled of a piece of work, and the worst of what is open or `pending`."""
        return self._spent("work", work, pending)

    def spent_by(self, run: str, pending: Sequence[Entry] = ()) -> Charge:
        """Return what is settled of all that a run asked, and the worst of what is open."""
        return self._spent("run", run, pending)

    def calls_of(self, host: str, model: str, since: float) -> Iterator[Entry]:
        """Yield the requests to a model of a host that were made since a time, the newest first."""
        known = (self.entries[name] for name in reversed(self._asked.get((host, model), [])))
        # They lie in the order of the log, which is that of their times but for skewed clocks.
        return itertools.takewhile(lambda one: one.asked_at > since, known)

    def take(self, record: dict[str, Any]) -> None:
        """Take notice of a record; one that was taken before changes nothing.

        Raises:
            KeyError: It is none of a ledger; as are TypeError and ValueError.
        """
        if "batch" in record:
            self.positions[record["remote"]] = record["batch"]
            for one in record["records"]:
                self._take(one)
                self.unshared.pop(_name_of(one), None)
        else:
            self._take(record)
            if self.shares:
                self.unshared[_name_of(record)] = record

    def _take(self, record: dict[str, Any]) -> None:
        kind, name = _name_of(record)
        if kind == "cap":
            self.caps[name] = Budget(dollars=record["dollars"], tokens=record["tokens"])
        elif kind == "intent" and name not in self.entries:
            entry = entry_of(record)
            self._open[name] = self.entries[name] = entry
            self._asked.setdefault((entry.host, entry.model), []).append(name)
        elif kind == "settled" and self.entries[name].outcome is None:
            charge = Charge(record["dollars"], record["tokens"])
            entry = replace(self._open.pop(name), charge=charge, outcome=Outcome(record["outcome"]))
            self.entries[name] = entry
            for place in (("work", entry.account.work), ("run", entry.account.run)):
                self._settled[place] = self._settled.get(place, Charge()) + charge
            if answer := record.get("answer"):
                self.answers.setdefault(entry.key, Answer(**answer))

    def _spent(self, kind: str, name: str, pending: Sequence[Entry]) -> Charge:
        found = self._settled.get((kind, name), Charge())
        for entry in (*self._open.values(), *pending):
            if getattr(entry.account, kind) == name:
                found += entry.charge
        return found


def entry_of(intent: dict[str, Any]) -> Entry:
    """Return the request that an intent's record is about, open."""
    account = Account(*(intent.get(name, "") for name in Account._fields))
    worst, host = Charge(intent["dollars"], intent["tokens"]), intent.get("host", "")
    name, key, model = intent["intent"], intent["key"], intent["model"]
    return Entry(name, key, account, model, intent["time"], worst, host=host)


def _name_of(record: dict[str, Any]) -> tuple[str, str]:
    """Return the kind of a record and what it is about."""
    kind = next((kind for kind in ("intent", "settled") if kind in record), "cap")
    return kind, record[kind]
