"""Calls that somebody wants to make, and which of them may be made now."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tasks.endpoints.accounts import Account, Entry, LedgerState, entry_of
from tasks.endpoints.answers import Answer
from tasks.endpoints.limiter import NO_LIMITS, RateLimits
from tasks.endpoints.prices import Budget, Charge, dollars_text

_LONG_AGO = 300.0
"""Seconds after which a call is out of every minute, whatever the clocks say."""


class Wish(NamedTuple):
    """A call that somebody wants to make."""

    key: str
    """The request's."""
    account: Account
    """Who asks; the budget is that of its `work`, and the cap of its `run` holds too."""
    model: str
    """Who is asked."""
    worst: Charge
    """The most that the call may cost."""
    budget: Budget
    """What all calls of this work together may cost."""
    limits: RateLimits = NO_LIMITS
    """How often the model of this server may be asked, by all together."""
    host: str = ""
    """The server's name."""

    def intent(self, identity: str) -> dict[str, Any]:
        """Return the record that says, at this moment, that the call is about to be made."""
        return {
            "intent": identity,
            "key": self.key,
            "model": self.model,
            "host": self.host,
            **self.worst._asdict(),
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            **self.account._asdict(),
        }


class TooSoonError(Exception):
    """A call would pass a server's limits per minute."""

    def __init__(self, seconds: float) -> None:
        """Take after how long it may be made at the earliest."""
        super().__init__("too soon")
        self.seconds = seconds


class OverBudgetError(Exception):
    """A call might pass a budget."""

    def __init__(self, spent: Charge, budget: Budget, *, is_run: bool) -> None:
        """Take what is spent already, open calls at their worst included, and of which budget.

        `is_run` says that it is the cap of the whole run, and not the endpoint's.
        """
        super().__init__("over budget")
        self.spent, self.budget, self.is_run = spent, budget, is_run

    def sentence(self, worst: Charge, run: str, endpoint: str) -> str:
        """Say what is used up, and how to go on.

        Args:
            worst: The call that did not fit.
            run: The run that asked; empty outside of any.
            endpoint: Key of the endpoint in the run's configuration; empty where it has none.
        """
        whose = "the run's budget" if self.is_run else "the budget"
        pays = Budget(dollars=self.budget.dollars).admits(self.spent, worst)
        key = f"{'' if self.is_run else f'{endpoint}.'}budget.{'tokens' if pays else 'dollars'}"
        more = "the endpoint's `budget` in the configuration and run it again"
        if run and (self.is_run or endpoint):
            more = f"it with `sparring resume {run} --set {key}=…`"
        call = f"{dollars_text(worst.dollars)} and {worst.tokens:,} tokens"
        if not any(self.spent):
            return (
                f"{whose} of {self.budget.text} does not reach for a single call, which may take "
                f"{call}; nothing is spent: raise {more}"
            )
        return (
            f"{whose} of {self.budget.text} is used up: {dollars_text(self.spent.dollars)} "
            f"and {self.spent.tokens:,} tokens are spent, and the next call may take "
            f"{call}; every answer is kept: raise {more} to go on from here"
        )


@dataclass(slots=True)
class Waiting:
    """A wish whose thread waits for what becomes of it."""

    wish: Wish
    """What it wants."""
    result: str | Answer | BaseException | None = None
    """The id of the call's reservation, the answer that somebody got, or why it may not be made."""


def admitted(batch: Sequence[Waiting], state: LedgerState) -> list[dict[str, Any]]:
    """Decide what becomes of each wish as things are now; return the intents of those made."""
    records: list[dict[str, Any]] = []
    pending: list[Entry] = []
    for one in batch:
        try:
            if (known := state.answers.get(one.wish.key)) is not None:
                one.result = known
                continue
            _check(one.wish, state, pending)
        except (OverBudgetError, TooSoonError) as error:
            one.result = error
            continue
        one.result = secrets.token_hex(8)
        records.append(one.wish.intent(one.result))
        pending.append(entry_of(records[-1]))
    return records


def _check(wish: Wish, state: LedgerState, pending: Sequence[Entry]) -> None:
    """Refuse a call that may not be made now, if those that are pending are made."""
    account, worst = wish.account, wish.worst
    if not wish.budget.admits(spent := state.spent(account.work, pending), worst):
        raise OverBudgetError(spent, wish.budget, is_run=False)
    cap = state.caps.get(account.run, Budget())
    if not cap.admits(spent := state.spent_by(account.run, pending), worst):
        raise OverBudgetError(spent, cap, is_run=True)
    if wish.limits != NO_LIMITS:
        now = time.time()
        late = state.calls_of(wish.host, wish.model, now - _LONG_AGO)
        place = (wish.host, wish.model)
        mine = (one for one in pending if (one.host, one.model) == place)
        calls = ((one.asked_at, one.charge.tokens) for one in (*late, *mine))
        if (seconds := wish.limits.delay(calls, worst.tokens, now)) > 0:
            raise TooSoonError(seconds)
