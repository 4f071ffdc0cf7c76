"""A server that is asked: where it is, by whose key, at what price, how often, how patiently."""

from __future__ import annotations

import ipaddress
import os
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from tasks.endpoints.prices import Budget, Price
from tasks.settings.base import NOT_IN_KEY, FrozenConfig
from tasks.settings.errors import ConfigError

ALLOWED = "SPARRING_ENDPOINTS"
"""Variable with the hosts that may be asked, joined by commas; unset: any, as below."""


class PatienceConfig(FrozenConfig):
    """How long a server is waited for, and how often it is asked again."""

    request_seconds: float = Field(default=600.0, gt=0)
    """How long a server may be silent before a call counts as lost. A lost call may have been
    answered and billed, so be generous."""
    connect_seconds: float = Field(default=10.0, gt=0)
    """How long a connection may take to come about."""
    retries: int = Field(default=6, ge=0)
    """Further attempts at a call after an error that may pass: 429, 5xx, a lost connection, a
    timeout, an answer that makes no sense. A call that fails them all is left unanswered."""
    first_pause: float = Field(default=1.0, gt=0)
    """Longest pause before the second attempt, seconds; it doubles, and is drawn at random up to
    that. `Retry-After` makes all calls wait longer."""
    longest_pause: float = Field(default=60.0, gt=0)
    """Where the pauses stop growing, seconds."""
    breaker_failures: int = Field(default=20, ge=1)
    """So many failures one after the other, of any calls, and nobody asks for a while."""
    breaker_seconds: float = Field(default=30.0, gt=0)
    """For how long, until a single call probes whether the server is back."""
    breaker_probes: int = Field(default=10, ge=1)
    """So many probes in vain, and the stage stops; what was answered is kept."""


class EndpointConfig(FrozenConfig):
    """A server with OpenAI's interface whose answers are paid for, if only with 0 dollars."""

    url: Annotated[str, NOT_IN_KEY]
    """Where its interface begins, such as `https://api.openai.com/v1`; https, but on this machine.
    Redirects are not followed. `SPARRING_ENDPOINTS`, hosts joined by commas, allows no others."""
    model: str = Field(min_length=1)
    """What it calls the model. A request to a model of this name that was answered once, through
    whichever address, is never sent again: give a model that you changed another name."""
    api_key: Annotated[str | None, NOT_IN_KEY] = Field(
        default=None, pattern=r"^([A-Z][A-Z0-9_]*_)?API_KEY$"
    )
    """Name of the environment variable that holds the key, such as `OPENAI_API_KEY`; it ends in
    `API_KEY`, so that no other secret can be sent. The key itself never stands in a file.
    Default: none is sent."""
    price: Annotated[Price, NOT_IN_KEY]
    """Dollars per million tokens, as its vendor says: `{prompt: 0, completion: 0}` for one of your
    own."""
    budget: Annotated[Budget, NOT_IN_KEY] = Budget()
    """The most that may be spent: on the gold of one set of queries, over all runs and attempts; on
    all verdicts of one run, over its attempts."""
    concurrency: Annotated[int, NOT_IN_KEY] = Field(default=8, ge=1)
    """Calls in flight."""
    requests_per_minute: Annotated[int | None, NOT_IN_KEY] = Field(default=None, ge=1)
    """Most calls in any minute, of all processes and machines that share the ledger. Default: as
    many as the server takes."""
    tokens_per_minute: Annotated[int | None, NOT_IN_KEY] = Field(default=None, ge=1)
    """Most tokens in any minute, read and written, of all that share the ledger. Default: as many
    as the server takes."""
    limit_key: Annotated[Literal["max_tokens", "max_completion_tokens"], NOT_IN_KEY] = "max_tokens"
    """What it calls the limit of an answer's tokens; newer models of OpenAI want the second."""
    patience: Annotated[PatienceConfig, NOT_IN_KEY] = PatienceConfig()
    """Time-outs, retries and pauses."""

    @model_validator(mode="after")
    def _is_allowed_and_capped(self) -> EndpointConfig:
        # Not at the field: what is wrong with a field is shown with its value.
        check_url(self.url)
        if not self.price.is_free and self.budget.dollars is None:
            raise ValueError(
                "price is not 0, and budget.dollars is not given: say how much may be spent"
            )
        return self

    def key_value(self) -> str:
        """Return the key; empty where the server wants none.

        Raises:
            ConfigError: Its variable is not set.
        """
        if self.api_key is None:
            return ""
        value = os.environ.get(self.api_key, "").strip()
        if not value:
            raise ConfigError(
                f"the environment variable {self.api_key} is not set: it must hold the key for "
                f"{self.host}"
            )
        return value

    @property
    def host(self) -> str:
        """Name or number of the machine that is asked."""
        return urlsplit(self.url).hostname or ""

    @property
    def is_local(self) -> bool:
        """Whether it runs on this machine."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_link_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_link_local
    except ValueError:
        return False


def check_url(url: str) -> None:
    """Refuse an address that may not be asked.

    Raises:
        ValueError: It is no address, holds a password, is not encrypted, or is not allowed here.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError(f"{url!r} is no address: {error}") from None
    if parts.username or parts.password:
        raise ValueError(f"the address of {host} holds a name or password: use `api_key`")
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is no address such as https://api.openai.com/v1")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError(
            f"{url!r} is not encrypted: https, but for this machine itself (127.0.0.1)"
        )
    if _is_link_local(host):
        raise ValueError(f"{url!r} is an address of a machine's or cloud's own services")
    allowed = [one.strip() for one in os.environ.get(ALLOWED, "").split(",") if one.strip()]
    if allowed and host not in allowed:
        raise ValueError(f"{host} is not among the hosts of {ALLOWED}: {', '.join(allowed)}")
