"""Which servers may be asked, by which keys, at which prices."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from tasks.endpoints.config import EndpointConfig
from tasks.endpoints.prices import Budget, Charge, Price, most_prompt_tokens
from tasks.settings.errors import ConfigError
from tasks.settings.loading import validate

FREE = {"prompt": 0, "completion": 0}


def at(url: str) -> EndpointConfig:
    return EndpointConfig(url=url, model="m", price=FREE)


@pytest.mark.parametrize(
    "url", ["https://api.example.org/v1", "http://127.0.0.1:80/v1", "http://localhost/v1/",
            "http://[::1]:8000/v1"],
)  # fmt: skip
def test_an_address_that_may_be_asked(url: str) -> None:
    assert at(url).is_local == ("example" not in url)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://api.example.org/v1", "not encrypted"),
        ("http://10.0.0.8/v1", "not encrypted"),
        ("http://127.0.0.1.example.org/v1", "not encrypted"),
        ("https://169.254.169.254/latest", "own services"),
        ("https://me:secret@example.org/v1", "name or password"),
        ("ftp://example.org", "no address"),
        ("file:///etc/passwd", "no address"),
        ("https://example.org/v1?key=a", "no address"),
        ("https://example.org:port/v1", "no address"),
        ("example.org", "no address"),
        ("", "no address"),
    ],
)
def test_an_address_that_may_not(url: str, why: str) -> None:
    settings = {"url": url, "model": "m", "price": FREE}
    with pytest.raises(ConfigError, match=why) as caught:
        validate(EndpointConfig, settings, "run.yaml")
    assert "secret" not in str(caught.value)


def test_the_operator_says_which_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARRING_ENDPOINTS", "api.example.org, 127.0.0.1")
    at("https://api.example.org/v1")
    with pytest.raises(ValidationError, match="not among the hosts of SPARRING_ENDPOINTS"):
        at("https://api.example.com/v1")


def test_a_price_must_be_known_and_a_price_needs_a_cap() -> None:
    with pytest.raises(ValidationError, match="price"):
        EndpointConfig(url="https://example.org", model="m")  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="how much may be spent"):
        EndpointConfig(url="https://example.org", model="m", price={"prompt": 1, "completion": 0})


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "sk-abc", "my_api_key"])
def test_only_a_key_for_an_api_can_be_sent(name: str) -> None:
    with pytest.raises(ValidationError, match="api_key"):
        EndpointConfig(url="https://example.org", model="m", price=FREE, api_key=name)


def test_a_missing_key_is_named(
    config_of: Callable[..., EndpointConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="TEST_API_KEY is not set"):
        config_of(api_key="TEST_API_KEY").key_value()


def test_charges_by_hand() -> None:
    """At $10 and $20 a million, 1,000 tokens read and 500 written cost one cent each."""
    price = Price(prompt=10, completion=20)
    assert price.charge(1000, 500) == Charge(0.02, 1500)
    assert Charge(1.0, 2) + Charge(0.5, 3) == Charge(1.5, 5)
    assert Budget(dollars=1).admits(Charge(0.5, 9), Charge(0.5, 9))
    assert not Budget(dollars=1).admits(Charge(0.5, 9), Charge(0.51, 9))
    assert not Budget(tokens=10).admits(Charge(0, 9), Charge(0, 2))
    assert Budget().admits(Charge(1e9, 10**9), Charge(1e9, 10**9))


def test_the_worst_is_more_than_a_tokenizer_makes() -> None:
    """Bytes, and what a template may add: 16 a message and 64 in all."""
    assert most_prompt_tokens(2, "né") == 3 + 32 + 64
