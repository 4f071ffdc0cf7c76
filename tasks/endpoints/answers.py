"""What a server may answer: a completion that makes sense, or one of a few named failures."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

SHOWN = 300
"""Characters of an answer that a message quotes."""

Billing = Literal["nothing", "reported", "worst"]
"""What a failed call counts as: nothing, what the answer reports (else the worst), the worst."""


class Outcome(StrEnum):
    """How one call of a server ended."""

    answered = "answered"
    truncated = "truncated"
    """The limit of tokens cut the text off."""
    filtered = "filtered"
    """The server's own filter, or the model's own refusal, withheld the text."""
    empty = "empty"
    error_inside = "error inside a 200"
    html = "HTML"
    broken_json = "broken JSON"
    other_schema = "another schema"
    other_reason = "another finish_reason"
    rate_limited = "rate limited"
    server_error = "server error"
    gateway_error = "gateway error"
    """A gateway gave up on the server behind it, which may have answered."""
    timeout = "timeout"
    lost = "connection lost"
    unreachable = "unreachable"
    """No connection came about, so that nothing was asked."""
    refused = "refused"
    """The server will never take this request."""

    @property
    def may_pass(self) -> bool:
        """Whether another attempt at the same request may end better."""
        return self not in (Outcome.answered, Outcome.truncated, Outcome.filtered, Outcome.refused)

    @property
    def billing(self) -> Billing:
        """What a call that ended so is counted as; who cannot know counts the worst."""
        if self in (Outcome.gateway_error, Outcome.timeout, Outcome.lost):
            return "worst"
        free = (Outcome.rate_limited, Outcome.server_error, Outcome.unreachable, Outcome.refused)
        return "nothing" if self in free else "reported"

    @property
    def is_made(self) -> bool:
        """Whether a useless answer is the server's own, not one that was broken on its way."""
        return self not in (Outcome.html, Outcome.broken_json)

    @property
    def is_trouble(self) -> bool:
        """Whether it speaks against the server as a whole, not against one request."""
        return self.may_pass and self is not Outcome.rate_limited


class Usage(BaseModel):
    """Tokens as a server reports them; None where it does not say."""

    model_config = ConfigDict(strict=True)

    prompt_tokens: int | None = Field(default=None, ge=0)
    """Tokens the server read."""
    completion_tokens: int | None = Field(default=None, ge=0)
    """Tokens it drew."""


class Answer(NamedTuple):
    """A completion, whole or cut off."""

    text: str
    """As sent."""
    reason: Literal["stop", "length"]
    """Why it ends: the model or a stop string ended it, or the limit."""
    prompt_tokens: int | None
    """Tokens the server read; None if it does not say."""
    tokens: int | None
    """Tokens it drew; None if it does not say."""
    ids: list[int] | None = None
    """The ids it drew; None if it does not say."""
    model: str = ""
    """What the server says that it is."""


class CallFailed(Exception):
    """A call that brought no completion."""

    def __init__(
        self,
        outcome: Outcome,
        problem: str,
        *,
        retry_after: float = 0.0,
        usage: Usage | None = None,
        body: str = "",
        status: int = 200,
    ) -> None:
        """Take what happened.

        Args:
            outcome: Its name.
            problem: What was got instead, for people.
            retry_after: Seconds for which the server wants no more requests.
            usage: Tokens that the answer reports all the same.
            body: The answer as it came; empty if none did.
            status: Its HTTP status.
        """
        super().__init__(problem)
        self.outcome, self.retry_after, self.usage = outcome, retry_after, usage or Usage()
        self.body, self.status = body, status


class _Part(BaseModel):
    model_config = ConfigDict(strict=True)


class _Message(_Part):
    content: str | None = None
    refusal: str | None = None


class _Choice(_Part):
    finish_reason: str | None
    text: str | None = None
    message: _Message | None = None
    token_ids: list[Annotated[int, Field(ge=0)]] | None = None


class _Body(_Part):
    choices: list[_Choice] = Field(min_length=1, max_length=1)
    usage: Usage | None = None
    model: str = ""


def read_answer(content: bytes, *, chat: bool) -> Answer:
    """Return the completion in the body of a 200; its text may be empty or cut off.

    Args:
        content: The body.
        chat: Whether a message is expected, as chat completions have it, or a text.

    Raises:
        CallFailed: It holds none, by the first of these that is so: HTML, no JSON, an error,
            another schema, withheld, an end for another reason than stop or length.
    """
    text = content.decode("utf-8", errors="replace")
    parsed = _parsed(content, text)
    usage = _usage(parsed)
    if isinstance(parsed, dict) and parsed.get("error"):
        problem = f"200 with what is no completion (an error): {str(parsed['error'])[:SHOWN]}"
        raise CallFailed(Outcome.error_inside, problem, usage=usage, body=text)
    try:
        body = _Body.model_validate(parsed)
    except ValidationError as error:
        where = error.errors()[0]
        place = ".".join(map(str, where["loc"])) or "body"
        problem = f"200 with what is no completion ({place}: {where['msg']}): {text[:SHOWN]!r}"
        raise CallFailed(Outcome.other_schema, problem, usage=usage, body=text) from None
    choice = body.choices[0]
    message = choice.message or _Message()
    reason, found = choice.finish_reason, message.content if chat else choice.text
    # Looked at first: text that came with any other reason is no answer.
    if reason == "content_filter" or message.refusal:
        problem = f"finish_reason is {reason!r}, the text was withheld: {message.refusal or ''}"
        raise CallFailed(Outcome.filtered, problem, usage=usage, body=text)
    if reason not in ("stop", "length"):
        problem = f"finish_reason is {reason!r}; expected 'stop' or 'length'"
        raise CallFailed(Outcome.other_reason, problem, usage=usage, body=text)
    if found is None:
        where_expected = "choices.0.message.content" if chat else "choices.0.text"
        problem = f"200 with what is no completion (no {where_expected}): {text[:SHOWN]!r}"
        raise CallFailed(Outcome.other_schema, problem, usage=usage, body=text)
    ended: Literal["stop", "length"] = "stop" if reason == "stop" else "length"
    read, drawn = usage.prompt_tokens, usage.completion_tokens
    return Answer(found, ended, read, drawn, choice.token_ids, body.model)


def model_names(content: bytes) -> list[str]:
    """Return the models that a server lists.

    Raises:
        CallFailed: It lists none.
    """
    text = content.decode("utf-8", errors="replace")
    parsed = _parsed(content, text)
    try:
        return [str(model["id"]) for model in parsed["data"]]
    except (TypeError, KeyError):
        problem = f"200 with what is no list of models: {text[:SHOWN]!r}"
        raise CallFailed(Outcome.other_schema, problem, body=text) from None


def require_whole(answer: Answer, content: bytes) -> Answer:
    """Return an answer that is neither cut off nor empty.

    Raises:
        CallFailed: It is.
    """
    usage = Usage(prompt_tokens=answer.prompt_tokens, completion_tokens=answer.tokens)
    body = content.decode("utf-8", errors="replace")
    if answer.reason == "length":
        problem = f"the limit of tokens cut the answer off: …{answer.text[-80:]!r}"
        raise CallFailed(Outcome.truncated, problem, usage=usage, body=body)
    if not answer.text.strip():
        raise CallFailed(Outcome.empty, "the answer is empty", usage=usage, body=body)
    return answer


def _parsed(content: bytes, text: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        start = text.lstrip()[:100].lower()
        is_html = start.startswith(("<!doctype", "<html", "<head", "<body"))
        outcome = Outcome.html if is_html else Outcome.broken_json
        problem = f"200 with what is no completion ({outcome}): {text[:SHOWN]!r}"
        raise CallFailed(outcome, problem, body=text) from None


def _usage(parsed: Any) -> Usage:
    """Return the tokens that an answer reports, whatever else is wrong with it."""
    try:
        return Usage.model_validate(parsed["usage"])
    except (ValidationError, TypeError, KeyError, IndexError):
        return Usage()
