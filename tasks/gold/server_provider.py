"""Gold responses from a stronger model, through a server with OpenAI's interface."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, JsonValue, field_validator, model_validator

from tasks.data.groups import Group
from tasks.endpoints.accounts import Account
from tasks.endpoints.answers import Answer, CallFailed, Outcome, read_answer
from tasks.endpoints.chat_request import ChatRequest, Unanswered
from tasks.endpoints.config import EndpointConfig
from tasks.endpoints.estimate import Estimate, estimate_requests
from tasks.endpoints.ledger import Ledger
from tasks.endpoints.paid_calls import PaidCalls
from tasks.endpoints.prices import dollars_text
from tasks.gold.provider import GoldAnswer, Problem
from tasks.settings.base import FrozenConfig
from tasks.settings.log import Log
from tasks.storage.workspace import Workspace
from tasks.tracking.remote.opening import open_remote

SAMPLE = "sample"
"""In a query's `extra`: the number of the candidate that is asked for."""
_BLANK = "{prompt}"
_PROBLEMS: Mapping[Outcome, Problem] = {
    Outcome.truncated: "truncated",
    Outcome.filtered: "withheld",
    Outcome.empty: "empty",
}
"""How calls end that bring something, to be looked at as all gold is."""
_OWN = frozenset({"model", "messages", "n", "stream", "max_tokens", "max_completion_tokens"})


class ServerGoldConfig(FrozenConfig):
    """A stronger model that answers the queries, and how it is asked."""

    endpoint: EndpointConfig
    """Where it is, and what it may cost."""
    system: str | None = None
    """What it is told before the conversation, as its first turn. Default: nothing."""
    prompt_template: str = _BLANK
    """What the user's last turn becomes; `{prompt}` in it is that turn as it stands in the data, as
    in `Summarise in one sentence: {prompt}`."""
    max_tokens: int = Field(default=512, ge=1)
    """Most tokens of an answer. One that this cuts off is paid for, and `gold.quality` says what
    becomes of it."""
    candidates: int = Field(default=1, ge=1)
    """Answers to each query, each paid for; the best of them becomes gold, see `best_by`."""
    best_by: Literal["reward_model", "judge"] = "reward_model"
    """Who says which of several candidates is best: the reward model that the game starts from, or
    the run's `judge`, which compares the best so far with the next one."""
    temperature: float | None = Field(default=None, ge=0)
    """How freely it answers. Default: as its server does; some models take no other."""
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    """Further fields of the request, as the server names them: `top_p: 0.9`, `seed: 1`."""

    @field_validator("prompt_template")
    @classmethod
    def _has_a_blank(cls, template: str) -> str:
        if _BLANK not in template:
            raise ValueError(f"no {_BLANK} in it, so that every query would be the same")
        return template

    @field_validator("parameters")
    @classmethod
    def _leaves_ours(cls, parameters: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if taken := sorted(_OWN & parameters.keys()):
            raise ValueError(f"{', '.join(taken)}: said by the other keys, or not to be changed")
        return parameters

    @model_validator(mode="after")
    def _candidates_differ(self) -> Self:
        if self.candidates > 1 and self.temperature == 0:
            raise ValueError("candidates at temperature 0 are the same text: raise temperature")
        return self

    def request(self, query: Group) -> ChatRequest:
        """Return what is asked for a query, whose id is the request's, or for one candidate."""
        sample = int(query.extra.get(SAMPLE, 0))
        turns = [(role, content) for role, content in query.prompt]
        role, content = turns[-1]
        # Not by format: braces in the data are theirs.
        turns[-1] = (role, self.prompt_template.replace(_BLANK, content))
        if self.system is not None:
            turns.insert(0, ("system", self.system))
        free: dict[str, Any] = {} if self.temperature is None else {"temperature": self.temperature}
        parameters: dict[str, Any] = {**self.parameters, **free}
        if sample and isinstance(seed := parameters.get("seed"), int):
            parameters["seed"] = seed + sample  # the same draw would be the same text
        return ChatRequest(query.id, tuple(turns), self.max_tokens, parameters, sample)


def candidate_queries(query: Group, candidates: int) -> list[Group]:
    """Return a query as often as it is asked; of several, each has a name and number of its own."""
    if candidates == 1:
        return [query]
    return [
        Group(query.prompt, id=f"{query.id}#{number}", extra={SAMPLE: number})
        for number in range(candidates)
    ]


def estimate_gold(config: ServerGoldConfig, queries: Iterable[Group], ledger: Ledger) -> Estimate:
    """Say what the answers to queries will cost; a query that occurs again is asked once."""
    unique = {one.id: one for one in queries}.values()
    asked = (one for query in unique for one in candidate_queries(query, config.candidates))
    unit = "queries" if config.candidates == 1 else f"candidates, {config.candidates} a query"
    return estimate_requests(config.endpoint, map(config.request, asked), ledger, unit)


class ServerProvider:
    """Asks a model for gold; every answer is paid once, whichever run asks for it."""

    def __init__(self, config: ServerGoldConfig, ledger: Path, account: Account, log: Log) -> None:
        """Take a model and who pays.

        Args:
            config: The model and how it is asked.
            ledger: Folder of the ledger.
            account: On whose behalf.
            log: Told what the ledger knows already, what it costs, and what stays unanswered.

        Raises:
            ConfigError: The variable that is to hold the key is not set.
            CorruptError: The ledger is damaged.
        """
        self._config, self._log = config, log
        known, key = Ledger(ledger, open_remote()), "gold.server.endpoint"
        self._calls = PaidCalls(config.endpoint, known, account, key)

    @property
    def name(self) -> str:
        """What the model is called in messages."""
        return self._config.endpoint.model

    @property
    def unit(self) -> str:
        """What is counted, with what it cost so far."""
        tally = self._calls.tally
        return f"queries ({tally.cached:,} known, {dollars_text(tally.charge.dollars)})"

    def metrics(self) -> Mapping[str, float]:
        """Return what it took: requests, tokens, dollars."""
        return self._calls.tally.metrics()

    def answer(
        self, queries: Sequence[Group], workspace: Workspace
    ) -> Iterator[tuple[str, GoldAnswer]]:
        """Ask for each answer that no run has got yet; those that bring none are told by reason."""
        failures: dict[Outcome, int] = {}
        first: dict[Outcome, Unanswered] = {}
        try:
            with self._calls as calls:
                for request, found in calls.ask(map(self._config.request, queries)):
                    if isinstance(found, Answer):
                        yield request.id, self._gold(found)
                    else:
                        failures[found.outcome] = failures.get(found.outcome, 0) + 1
                        first.setdefault(found.outcome, found)
                        if problem := _PROBLEMS.get(found.outcome):
                            yield request.id, self._faulty(found, problem)
        finally:
            # Also where the budget ends it: what was spent is to be seen.
            self._log(dict(self.metrics()))
            self._log.note(self._summary())
            for outcome, count in failures.items():
                self._log.note(f"{count:,} × {outcome}, such as: {first[outcome].problem}")

    def _gold(self, found: Answer) -> GoldAnswer:
        usage = {"prompt_tokens": found.prompt_tokens, "completion_tokens": found.tokens}
        known = {name: float(count) for name, count in usage.items() if count is not None}
        return GoldAnswer(found.text.strip(), self.name, known)

    def _faulty(self, found: Unanswered, problem: Problem) -> GoldAnswer:
        text = found.text.strip()
        with suppress(CallFailed):
            text = text or read_answer(found.body.encode(), chat=True).text.strip()
        return GoldAnswer(text, self.name, problem=problem, raw=found.body or found.text)

    def _summary(self) -> str:
        tally = self._calls.tally
        return (
            f"{tally.answered:,} answers by {tally.sent:,} requests to {self.name} for "
            f"{dollars_text(tally.charge.dollars)}; {tally.cached:,} were in the ledger already"
        )
