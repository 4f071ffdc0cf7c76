"""The ledger of paid work: what was asked, what it cost, and every answer: none is bought twice.

One journal for all runs that share a state folder. An intent is on the disk before its request is
sent; a settlement follows the answer. What has no settlement has an unknown outcome and counts as
spent at its worst. Only answers count as answered: a failed request may be sent again.

With a remote an intent is in the log of all machines before its request is sent; the journal is
then this machine's copy, and holds what it has still to add.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tasks.endpoints.accounts import Entry, LedgerState
from tasks.endpoints.answers import Answer, Outcome
from tasks.endpoints.prices import Budget, Charge
from tasks.endpoints.shared_log import SharedLog, SharedObjects
from tasks.endpoints.wishes import Waiting, Wish, admitted
from tasks.storage.errors import CorruptError
from tasks.storage.journal import append_record, mend_tail, read_new_records
from tasks.storage.locks import FileLock

LEDGER_FILE = "paid.journal"
_LOCK_FILE = "paid.lock"
_LONGEST_BODY = 20_000
"""Characters of a useless answer that are kept."""


class Ledger:
    """The ledger in a folder; threads, processes and machines may use it at once."""

    def __init__(self, folder: Path, remote: SharedObjects | None = None) -> None:
        """Open it; a torn end, which a kill left, is cut off.

        Args:
            folder: Where this machine keeps it.
            remote: What several machines share, if they do: the ledger is then one for all.

        Raises:
            CorruptError: It is damaged otherwise, naming the place.
            StorageError: The remote does not answer.
        """
        self.path = Path(folder) / LEDGER_FILE
        self._lock_path = Path(folder) / _LOCK_FILE
        self._log = SharedLog(remote) if remote else None
        # Threads wait here, as the lock between processes is asked for in steps.
        self._mutex = threading.Lock()
        self._waiting: deque[Waiting] = deque()
        self._state, self._end = LedgerState(shares=remote is not None), 0
        mend_tail(self.path)
        self.catch_up()

    def catch_up(self) -> None:
        """Take notice of what others have written, on other machines too.

        Raises:
            StorageError: The remote does not answer.
        """
        with self._mutex:
            self._refresh()
            if self._log is not None:
                with FileLock(self._lock_path):
                    self._refresh()
                    self._read_log()

    def answer(self, key: str) -> Answer | None:
        """Return the answer to a request that was answered, by whomever and whenever."""
        with self._mutex:
            self._refresh()
            return self._state.answers.get(key)

    def answers(self, keys: list[str]) -> dict[str, Answer]:
        """Return those of the requests that were answered, by key, on whichever machine."""
        self.catch_up()
        with self._mutex:
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

    def spent_by(self, run: str) -> Charge:
        """Return what a run has cost, open requests at their worst."""
        with self._mutex:
            self._refresh()
            return self._state.spent_by(run)

    def spent_on(self, host: str, model: str) -> dict[str, Charge]:
        """Return what each piece of work has paid to a model of a host, open calls at worst."""
        found: dict[str, Charge] = {}
        for entry in self.entries():
            if (entry.host, entry.model) == (host, model):
                work = entry.account.work
                found[work] = found.get(work, Charge()) + entry.charge
        return found

    def set_cap(self, run: str, cap: Budget) -> None:
        """Say the most that a run may spend from now on, whatever its endpoints' budgets say."""
        record = {"cap": run, "dollars": cap.dollars, "tokens": cap.tokens}

        def make() -> list[dict[str, Any]]:
            return [record] if cap != self._state.caps.get(run, Budget()) else []

        with self._mutex:
            self._write(make)

    def reserve(self, wish: Wish) -> str | Answer:
        """Write down that a request is about to be sent; on return that survives a power cut.

        With a remote it survives the loss of this machine too. Threads that come while another one
        writes are written together.

        Returns:
            The id to settle it by; or the answer, if somebody got it meanwhile.

        Raises:
            OverBudgetError: It might pass the budget; nothing is written then.
            TooSoonError: The server is asked often enough; nothing is written then.
            StorageError: The disk or the remote refuses; do not send.
        """
        own = Waiting(wish)
        self._waiting.append(own)
        with self._mutex:
            if own.result is None:
                batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
                try:
                    self._write(lambda: admitted(batch, self._state))
                except BaseException as error:
                    for one in batch:
                        one.result = error
        assert own.result is not None, "it was in this batch or in another one"
        if isinstance(own.result, BaseException):
            raise own.result
        return own.result

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

    def share(self) -> None:
        """Let other machines know the answers that this one has got since its last request.

        Raises:
            StorageError: The remote does not take them; they stay here for the next time.
        """
        if self._log is not None:
            with self._mutex:
                self._write(list)

    def bodies(self) -> Iterator[tuple[Entry, str]]:
        """Yield the requests that brought something useless, and what that was."""
        known = {entry.id: entry for entry in self.entries()}
        found: dict[str, str] = {}
        for record in read_new_records(self.path, 0)[0]:
            for one in record.get("records", [record]):
                if "body" in one:
                    found[one["settled"]] = one["body"]
        yield from ((known[name], body) for name, body in found.items())

    def _write(self, make: Callable[[], list[dict[str, Any]]]) -> None:
        """Write what `make` returns; it is asked again when another machine wrote before."""
        with FileLock(self._lock_path):
            self._refresh()
            records = make()
            while self._log is not None:
                batch = [*self._state.unshared.values(), *records]
                number = self._state.positions.get(self._log.url, 0) + 1
                if not batch:
                    return
                if self._log.append(number, batch):
                    records = [{"batch": number, "remote": self._log.url, "records": batch}]
                    break
                self._read_log()
                records = make()
            for record in records:
                # One wait for the disk is enough for all.
                append_record(self.path, record, sync=record is records[-1])
            self._refresh()

    def _read_log(self) -> None:
        """Copy what other machines wrote."""
        assert self._log is not None
        after = self._state.positions.get(self._log.url, 0)
        for number, records in enumerate(self._log.read(after), after + 1):
            record = {"batch": number, "remote": self._log.url, "records": records}
            append_record(self.path, record, sync=False)  # the remote has it
        self._refresh()

    def _refresh(self) -> None:
        """Take notice of what was written since, by others too."""
        records, self._end = read_new_records(self.path, self._end)
        for record in records:
            try:
                self._state.take(record)
            except (KeyError, TypeError, ValueError) as error:
                raise CorruptError(
                    f"{self.path} holds a record that is none of a ledger ({error!r}): restore it"
                ) from error


def _encodable(text: str) -> str:
    return text.encode("utf-8", errors="replace").decode("utf-8")
