"""Requests that cost money: each looked up, reserved, sent, checked and settled, many at once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Self

from tasks.endpoints.answers import Answer, CallFailed, Outcome, Usage, read_answer, require_whole
from tasks.endpoints.chat_request import ChatRequest, Unanswered
from tasks.endpoints.client import Connection, EndpointClient, Retries, stopping_error
from tasks.endpoints.config import EndpointConfig
from tasks.endpoints.ledger import Account, Ledger, OverBudgetError
from tasks.endpoints.limiter import GivenUpError, Limiter
from tasks.endpoints.prices import Charge, dollars_text
from tasks.settings.errors import BudgetExhausted


@dataclass(slots=True)
class Tally:
    """How the asking went so far."""

    sent: int = 0
    """Requests that went out, repetitions included."""
    answered: int = 0
    """Requests answered by them."""
    cached: int = 0
    """Requests that the ledger had the answers to."""
    unanswered: int = 0
    """Requests left without one."""
    outcomes: dict[Outcome, int] = field(default_factory=dict)
    """Calls by how they ended."""
    charge: Charge = Charge()
    """What they cost."""
    prompt_tokens: int = 0
    """Tokens that the server says it read."""
    completion_tokens: int = 0
    """Tokens that it says it wrote."""

    def metrics(self) -> dict[str, float]:
        """Return it as the metrics of a stage."""
        return {
            "requests": float(self.sent),
            "answered_before": float(self.cached),
            "prompt_tokens": float(self.prompt_tokens),
            "completion_tokens": float(self.completion_tokens),
            "dollars": self.charge.dollars,
        }


class PaidCalls:
    """Asks one server for chat completions, never twice for the same, never above the budget."""

    def __init__(self, config: EndpointConfig, ledger: Ledger, account: Account) -> None:
        """Take a server and who pays; nothing is sent yet.

        Raises:
            ConfigError: The variable that is to hold the key is not set.
        """
        patience = config.patience
        self._config, self._ledger, self._account = config, ledger, account
        self._limiter = Limiter(config.requests_per_minute, config.tokens_per_minute)
        self._retries = Retries(patience, self._limiter)
        connection = Connection(config.url, config.key_value(), config.is_local, config.concurrency)
        self._client = EndpointClient(connection, patience)
        self._changed = threading.Condition()
        self._open = self._workers = 0
        self._is_left = False
        self.tally = Tally()
        """How it went so far."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """End: whoever waits gives up. What is in flight ends by itself, and is still settled."""
        self._limiter.end()
        with self._changed:
            self._is_left = True
            self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._is_left and not self._workers:
            self._client.close()

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
            yield from ((request, answer) for request in by_key[key])
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
                self._limiter.end()
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
            return self._retries.call(attempt)
        except CallFailed as error:
            return Unanswered(error.outcome, str(error), error.body)

    def _attempt(self, key: str, request: ChatRequest, made: int) -> Answer:
        """Reserve, send and settle once."""
        config = self._config
        worst = config.price.charge(*request.worst_tokens())
        ticket = self._limiter.acquire(worst.tokens)
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
            answer = require_whole(read_answer(content, chat=True), content)
            outcome, charge = Outcome.answered, self._reported(answer) or worst
            return answer
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
            self._settle(identity, outcome, charge, answer, body)
            self._limiter.settle(ticket, charge.tokens)

    def _reported(self, answer: Answer) -> Charge | None:
        usage = Usage(prompt_tokens=answer.prompt_tokens, completion_tokens=answer.tokens)
        return self._config.price.reported(usage)

    def _reserve(self, key: str, worst: Charge) -> str | Answer:
        """Return the id of the reservation; waits while calls in flight may leave room for it."""
        config = self._config
        while True:
            with self._changed:
                try:
                    found = self._ledger.reserve(
                        key, self._account, config.model, worst, config.budget
                    )
                except OverBudgetError as error:
                    if not self._open:
                        raise BudgetExhausted(self._exhausted(error.spent, worst)) from None
                    self._changed.wait()
                    self._limiter.wait(0)
                    continue
                if isinstance(found, str):
                    self._open += 1
                    self.tally.sent += 1
                return found

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
                self._changed.notify_all()

    def _exhausted(self, spent: Charge, worst: Charge) -> str:
        return (
            f"the budget of {self._config.budget.text} is used up: {dollars_text(spent.dollars)} "
            f"and {spent.tokens:,} tokens are spent, and the next call may take "
            f"{dollars_text(worst.dollars)} and {worst.tokens:,} tokens; every answer is kept: "
            "raise the endpoint's `budget` in the configuration and run it again to go on from here"
        )
