"""Requests that cost money: each looked up, reserved, sent, checked and settled, many at once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Self

from tasks.endpoints.accounts import Account
from tasks.endpoints.answers import Answer, CallFailed, Outcome, Usage, read_answer, require_whole
from tasks.endpoints.chat_request import ChatRequest, Unanswered
from tasks.endpoints.client import EndpointClient, connection_to, stopping_error
from tasks.endpoints.config import EndpointConfig
from tasks.endpoints.ledger import Ledger
from tasks.endpoints.limiter import GivenUpError, Pauses, RateLimits
from tasks.endpoints.paid_tally import Tally
from tasks.endpoints.prices import Charge
from tasks.endpoints.retries import Retries
from tasks.endpoints.wishes import OverBudgetError, TooSoonError, Wish
from tasks.settings.errors import BudgetExhausted, ConfigError
from tasks.storage.errors import StorageError


class PaidCalls:
    """Asks one server for chat completions, never twice for the same, never above the budget."""

    def __init__(
        self, config: EndpointConfig, ledger: Ledger, account: Account, key: str = ""
    ) -> None:
        """Take a server and who pays; nothing is sent yet.

        Args:
            config: The server.
            ledger: What was asked before, and what it cost.
            account: On whose behalf it is asked.
            key: Of the server in the run's configuration, which is told where a budget ends; empty
                where it has none.

        Raises:
            ConfigError: The variable that is to hold the key is not set.
        """
        patience = config.patience
        self._config, self._ledger, self._account, self._key = config, ledger, account, key
        self._limits = RateLimits(config.requests_per_minute, config.tokens_per_minute)
        self._pauses = Pauses()
        self._retries = Retries(patience, self._pauses)
        self._client = EndpointClient(connection_to(config), patience)
        self._changed = threading.Condition()
        self._open = self._settled = self._workers = 0
        self._is_left = False
        self.tally = Tally()
        """How it went so far."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """End: whoever waits gives up. What is in flight ends by itself, and is still settled."""
        self._pauses.end()
        with self._changed:
            self._is_left = True
            self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._is_left and not self._workers:
            self._client.close()
            with suppress(StorageError, ConfigError):  # whoever opens the ledger next shares them
                self._ledger.share()

    def ask(
        self, requests: Iterable[ChatRequest]
    ) -> Iterator[tuple[ChatRequest, Answer | Unanswered]]:
        """Answer requests, those that the ledger knows first, each as soon as it is known.

        Yields:
            Each request with its answer, or with why there is none.

        Raises:
            BudgetExhausted: The next call might pass the budget; what is answered was yielded.
            ConfigError: The server refuses the key, or knows no such model.
            StageError: The server does not answer at all.
        """
        by_key: dict[str, list[ChatRequest]] = {}
        for request in requests:
            by_key.setdefault(request.key(self._config.model), []).append(request)
        known = self._ledger.answers(list(by_key))
        for key, answer in known.items():
            self.tally.cached += len(by_key[key])
            yield from ((request, _found(answer)) for request in by_key[key])
        missing = [(key, same[0]) for key, same in by_key.items() if key not in known]
        for key, result in self._ask_all(missing):
            is_answer = isinstance(result, Answer)
            self.tally.answered += is_answer
            self.tally.unanswered += not is_answer
            yield from ((request, result) for request in by_key[key])

    def _ask_all(
        self, missing: list[tuple[str, ChatRequest]]
    ) -> Iterator[tuple[str, Answer | Unanswered]]:
        """Ask with so many threads as configured; the first error ends them all."""
        results: queue.Queue[tuple[str, Answer | Unanswered] | BaseException | None] = queue.Queue()
        waiting, lock = iter(missing), threading.Lock()

        def work() -> None:
            try:
                while True:
                    with lock:
                        key, request = next(waiting)
                    results.put((key, self._answer(key, request)))
            except (StopIteration, GivenUpError):
                pass
            except BaseException as error:  # handed to who asked
                self._pauses.end()
                results.put(error)
            finally:
                results.put(None)
                with self._changed:
                    self._workers -= 1
                    self._close_if_idle()

        left = min(self._config.concurrency, len(missing))
        with self._changed:
            self._workers += left
        for _ in range(left):
            # A program that is told to stop does not wait for what may take minutes.
            threading.Thread(target=work, daemon=True, name="paid-call").start()
        problem: BaseException | None = None
        while left:
            found = results.get()
            if found is None:
                left -= 1
            elif isinstance(found, BaseException):
                problem = problem or found
            else:
                yield found
        if problem is not None:
            raise problem

    def _answer(self, key: str, request: ChatRequest) -> Answer | Unanswered:
        """Return the answer to one request, after as many attempts as it takes."""
        # Useless answers that the server made, or that came twice: it would repeat them.
        made, seen = 0, set[str]()

        def attempt(number: int) -> Answer:
            nonlocal made
            try:
                return self._attempt(key, request, made)
            except CallFailed as error:
                if error.outcome.billing == "reported":
                    made += error.outcome.is_made or error.body in seen
                    seen.add(error.body)
                raise

        try:
            return _found(self._retries.call(attempt))
        except CallFailed as error:
            return Unanswered(error.outcome, str(error), error.body)

    def _attempt(self, key: str, request: ChatRequest, made: int) -> Answer:
        """Reserve, send and settle once."""
        config = self._config
        worst = config.price.charge(*request.worst_tokens())
        self._pauses.wait_turn()
        identity = self._reserve(key, worst)
        if isinstance(identity, Answer):
            return identity
        answer, outcome, charge, body = None, Outcome.lost, worst, ""
        try:
            # A server that knows the header repeats, without a bill, an answer that was lost or
            # broken on its way. A useless one of its own is asked for anew.
            headers = {"Idempotency-Key": f"{key}-{made}"}
            content = self._client.post(
                "/chat/completions", request.body(config.model, config.limit_key), headers=headers
            )
            answer = read_answer(content, chat=True)
            outcome, charge = Outcome.answered, self._reported(answer) or worst
            return require_whole(answer, content)
        except CallFailed as error:
            outcome, body = error.outcome, error.body
            if (stop := stopping_error(error)) is not None:
                charge = Charge()
                raise stop from None
            if outcome.billing == "nothing":
                charge = Charge()
            elif outcome.billing == "reported":
                charge = config.price.reported(error.usage) or worst
            raise
        finally:
            # What its limit cuts off is cut off for good: it was paid, and is not asked again.
            is_final = outcome in (Outcome.answered, Outcome.truncated)
            self._settle(identity, outcome, charge, answer if is_final else None, body)

    def _reported(self, answer: Answer) -> Charge | None:
        usage = Usage(prompt_tokens=answer.prompt_tokens, completion_tokens=answer.tokens)
        return self._config.price.reported(usage)

    def _reserve(self, key: str, worst: Charge) -> str | Answer:
        """Return the id of the reservation; waits for the limits, and for calls in flight.

        Those may leave room in the budget.
        """
        config = self._config
        wish = Wish(
            key, self._account, config.model, worst, config.budget, self._limits, config.host
        )
        while True:
            with self._changed:
                # Counted before it is written down, so that nobody takes the budget for used up.
                self._open += 1
                seen = self._settled
            found: str | Answer | None = None
            try:
                found = self._ledger.reserve(wish)
            except TooSoonError as soon:
                wait = soon.seconds
            except OverBudgetError as error:
                wait, over = 0.0, error
            finally:
                self._took(found)
            if found is not None:
                return found
            if wait:
                self._pauses.wait(wait)
            else:
                self._wait_for_room(over, worst, seen)

    def _took(self, found: str | Answer | None) -> None:
        """Count a reservation, or that there is none."""
        with self._changed:
            if isinstance(found, str):
                self.tally.sent += 1
                return
            self._open -= 1
            if not self._open:
                self._changed.notify_all()

    def _wait_for_room(self, over: OverBudgetError, worst: Charge, seen: int) -> None:
        """Wait until a call in flight is settled; `seen` were before the budget was looked at.

        Raises:
            BudgetExhausted: None is in flight.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._settled != seen or not self._open)
            if self._settled == seen:
                raise BudgetExhausted(over.sentence(worst, self._account.run, self._key))
        self._pauses.wait(0)

    def _settle(
        self, identity: str, outcome: Outcome, charge: Charge, answer: Answer | None, body: str
    ) -> None:
        try:
            self._ledger.settle(identity, outcome, charge, answer, body)
        finally:
            with self._changed:
                tally = self.tally
                tally.outcomes[outcome] = tally.outcomes.get(outcome, 0) + 1
                tally.charge += charge
                if answer is not None:
                    tally.prompt_tokens += answer.prompt_tokens or 0
                    tally.completion_tokens += answer.tokens or 0
                self._open -= 1
                self._settled += 1
                self._changed.notify_all()


def _found(answer: Answer) -> Answer | Unanswered:
    """Return what the ledger has for a request; a text that was cut off is no answer."""
    if answer.reason == "stop":
        return answer
    problem = "the limit of tokens cut the answer off, as the ledger knows"
    return Unanswered(Outcome.truncated, problem, "", answer.text)
