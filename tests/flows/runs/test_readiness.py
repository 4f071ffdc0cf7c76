"""Each source, file and model of a configuration is opened, and what is wrong is said of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flows.cli.doctor import show_config_report
from flows.configs.apo import ApoConfig
from flows.runs.readiness import examine_config
from tasks.endpoints.accounts import Account
from tasks.endpoints.ledger import Ledger
from tasks.endpoints.prices import Budget, Charge
from tasks.endpoints.wishes import Wish
from tasks.settings.errors import ConfigError
from tasks.settings.loading import load_config
from tasks.storage.home import Home, current_home
from tests.servers.paid_server import PaidServer

KEY = "sk-canary-987654"
SMALL = Path(__file__).parents[1] / "configs" / "small.yaml"
PAIR = {"prompt": "2 + 2?", "chosen": "4", "rejected": "5"}


def found(**changes: Any) -> dict[str, tuple[bool, str]]:
    config = ApoConfig(**load_config(SMALL) | changes)
    return {one.subject: (one.ok, one.detail) for one in examine_config(config)}


def test_a_run_that_makes_everything_itself_has_nothing_to_look_at() -> None:
    assert found() == {}


def test_what_is_here_is_read_and_what_is_not_is_said(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(json.dumps(PAIR) + "\n")
    sources = [{"path": str(pairs)}, {"hub": "owner/pairs", "split": "dev"}]
    seen = found(
        data={"preferences": sources, "test": [{"path": f"{tmp_path}/none"}]},
        gold={"path": str(pairs)},
        compare_with={"other": f"{tmp_path}/nowhere"},
    )
    assert {name: ok for name, (ok, _) in seen.items()} == {
        f"data {pairs}": True,
        "data hub:owner/pairs, dev": False,
        f"data {tmp_path}/none": False,
        f"model {tmp_path}/nowhere": False,
        f"file {pairs}": True,
    }
    assert seen[f"data {pairs}"][1] == "read as pairs"
    assert seen["data hub:owner/pairs, dev"][1].startswith("needs the network: the data set")


def test_the_command_refuses_what_a_run_would_refuse() -> None:
    """A set that is known for a script is refused with the configuration, offline too."""
    console = Console(record=True, width=300)
    missing = ["data.playground=null", "data.preferences=[{path: no}]"]
    assert not show_config_report(SMALL, missing, console, as_json=False)
    assert "there is no data file at no" in console.export_text()
    script = "data.preferences=[{hub: openai/webgpt_comparisons}]"
    with pytest.raises(ConfigError, match="revision: refs/convert/parquet"):
        show_config_report(SMALL, [script], console, as_json=False)
    assert show_config_report(SMALL, [], console, as_json=False)


@pytest.fixture
def paid(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[PaidServer]:
    monkeypatch.setenv("TEACHER_API_KEY", KEY)
    with PaidServer() as server:
        yield server


def gold_from(server: PaidServer, **settings: Any) -> dict[str, tuple[bool, str]]:
    """What is found of a paid server, by the word behind its key; the key itself is in nothing."""
    known = {"url": server.url, "model": "m", "api_key": "TEACHER_API_KEY"}
    paid = {"price": {"prompt": 2.5, "completion": 10}, "budget": {"dollars": 20}}
    endpoint = {**known, **paid, **settings}
    seen = found(gold={"provider": "server", "server": {"endpoint": endpoint}})
    assert KEY not in str(seen)
    return {name.rpartition(" ")[2]: what for name, what in seen.items()}


def test_a_paid_server_is_looked_at_for_free(paid: PaidServer) -> None:
    account = Account("r", "collect_gold", "work")
    host = "127.0.0.1"
    Ledger(current_home().ledger).reserve(
        Wish("k", account, "m", Charge(3.2, 10), Budget(), host=host)
    )
    seen = gold_from(paid)
    assert all(ok for ok, _ in seen.values()) and set(seen) == {"price", "budget", "server"}
    assert seen["price"][1] == "$2.50 read and $10.00 written per million tokens, as declared"
    assert seen["budget"][1].startswith("$20.00 for each piece of work; the one that paid it most")
    assert "has paid $3.20 and 10 tokens" in seen["budget"][1]
    assert seen["server"][1] == "it answers, its key is accepted, and it has m"
    assert paid.headers[0]["authorization"] == f"Bearer {KEY}" and not paid.received
    assert not gold_from(paid, budget={"dollars": 3.2})["budget"][0]


@pytest.mark.parametrize(
    ("listing", "ok", "words"),
    [
        ((401, {}, b"no such key sk-canary-987654"), False, "does not accept the key"),
        ((500, {}, b"oops"), False, "500 oops"),
        (b"<html>", False, "HTML"),
        (b'{"data": [', False, "broken JSON"),
        ((404, {}, b"nothing here"), True, "lists no models"),
        ({"data": [{"id": "m-large"}]}, False, "no model 'm'"),
    ],
)
def test_what_is_wrong_with_a_paid_server(
    paid: PaidServer, listing: Any, ok: bool, words: str
) -> None:
    paid.listing = listing
    assert gold_from(paid)["server"][0] is ok and words in gold_from(paid)["server"][1]


def test_a_key_that_is_missing_and_a_server_that_is_down(
    paid: PaidServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = gold_from(paid, url="http://127.0.0.1:9/v1")["server"]
    assert not nobody[0] and "Connect" in nobody[1]
    monkeypatch.delenv("TEACHER_API_KEY")
    seen = gold_from(paid)
    assert "server" not in seen and "TEACHER_API_KEY is not set" in seen["key"][1]
