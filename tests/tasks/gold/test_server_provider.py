"""Gold from a server: what is asked, what becomes gold, what it costs, and where a cap stops it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.data.groups import Group, Message
from tasks.endpoints.accounts import Account
from tasks.endpoints.ledger import Ledger
from tasks.endpoints.prices import Charge
from tasks.gold.collection import QUARANTINE, GoldConfig, collect
from tasks.gold.quality import QualityConfig
from tasks.gold.server_provider import ServerGoldConfig, estimate_gold
from tasks.settings.errors import BudgetExhausted, ConfigError
from tasks.settings.loading import validate
from tasks.settings.log import NullLog
from tasks.storage.home import current_home
from tasks.storage.workspace import Workspace
from tests.servers.paid_server import PaidServer, chat_answer, said
from tests.tasks.endpoints.conftest import REAL, endpoint

ME = Account("run-1", "collect_gold", "work-1")


class Told(NullLog):
    def __init__(self) -> None:
        self.texts: list[str] = []
        self.metrics: dict[str, float] = {}
        self.units: list[str] = []

    def __call__(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.metrics |= metrics

    def note(self, text: str) -> None:
        self.texts.append(text)

    def progress(self, done: int, total: int, unit: str) -> None:
        self.units.append(unit)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARRING_HOME", str(tmp_path / "home"))


@pytest.fixture
def server() -> Iterator[PaidServer]:
    with PaidServer() as running:
        yield running


@pytest.fixture
def gold_of(server: PaidServer) -> Callable[..., GoldConfig]:
    def make(settings: dict[str, Any] | None = None, **endpoint_settings: Any) -> GoldConfig:
        asked = {"endpoint": endpoint(server, **endpoint_settings), "max_tokens": 16}
        return GoldConfig(provider="server", server=ServerGoldConfig(**asked, **(settings or {})))

    return make


def queries(count: int) -> list[Group]:
    return [Group((Message("user", f"query {number}"),)) for number in range(count)]


def test_the_request_is_what_the_configuration_says(
    server: PaidServer, gold_of: Callable[..., GoldConfig], tmp_path: Path
) -> None:
    settings = {
        "system": "Be brief.",
        "prompt_template": "Say it better: {prompt} {x}",
        "temperature": 0.5,
        "parameters": {"top_p": 0.9},
    }
    talk = Group(
        (Message("user", "hello"), Message("assistant", "yes?"), Message("user", "{prompt} {y}"))
    )
    gold, _ = collect(gold_of(settings), [talk], None, Workspace(tmp_path / "w"), Told(), ME)
    assert server.bodies == [
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "hello"},
                {"role": "assistant", "content": "yes?"},
                {"role": "user", "content": "Say it better: {prompt} {y} {x}"},
            ],
            "max_tokens": 16,
            "temperature": 0.5,
            "top_p": 0.9,
        }
    ]
    assert gold[0].prompt == talk.prompt and gold[0].sources == ("m",)


def test_answers_become_gold_with_what_they_cost(
    gold_of: Callable[..., GoldConfig], tmp_path: Path
) -> None:
    log = Told()
    gold, counts = collect(gold_of(), queries(3), None, Workspace(tmp_path / "w"), log, ME)
    assert [group.responses for group in gold] == [("QUERY 0",), ("QUERY 1",), ("QUERY 2",)]
    took = {
        "requests": 3.0,
        "answered_before": 0.0,
        "prompt_tokens": 60.0,
        "completion_tokens": 30.0,
        "dollars": 3 * REAL,
    }
    assert {name: counts[name] for name in took} == pytest.approx(took)
    assert (counts["answered"], counts["unanswered"]) == (3.0, 0.0)
    assert log.metrics == pytest.approx(took)
    assert log.units[-1] == "queries (0 known, $0.0012)"
    (entry, *_) = Ledger(current_home().ledger).entries()
    assert entry.account == ME


def test_a_new_workspace_asks_nothing_again(
    server: PaidServer, gold_of: Callable[..., GoldConfig], tmp_path: Path
) -> None:
    first, _ = collect(gold_of(), queries(3), None, Workspace(tmp_path / "a"), Told(), ME)
    again, counts = collect(gold_of(), queries(4), None, Workspace(tmp_path / "b"), Told(), ME)
    assert again[:3] == first and counts["answered_before"] == 3.0
    assert sum(server.received.values()) == 4


def test_what_is_useless_is_told_by_reason_and_is_no_gold(
    server: PaidServer, gold_of: Callable[..., GoldConfig], tmp_path: Path
) -> None:
    def reply(body: dict[str, Any]) -> Any:
        reasons = {"query 1": "length", "query 2": "content_filter"}
        return chat_answer(body, reason=reasons.get(said(body), "stop"))

    server.reply = reply
    config = gold_of().model_copy(update={"max_unanswered_share": 0.5})
    log = Told()
    gold, counts = collect(config, queries(4), None, Workspace(tmp_path / "w"), log, ME)
    assert len(gold) == 2 and counts["unanswered"] == 2.0
    told = "\n".join(log.texts)
    assert "1 × truncated, such as: the limit of tokens cut the answer off" in told
    assert "1 × filtered, such as: finish_reason is 'content_filter', the text was" in told
    lines = (tmp_path / "w" / "output" / QUARANTINE).read_text("utf-8").splitlines()
    aside = {one["id"]: one for one in map(json.loads, lines)}
    kinds = {query.id: aside.get(query.id, {}).get("kind") for query in queries(4)}
    assert list(kinds.values()) == [None, "truncated", "withheld", None]
    cut = aside[queries(4)[1].id]
    assert cut["text"] == "QUERY 1" and '"finish_reason": "length"' in cut["raw"]
    assert (counts["quality/truncated"], counts["quality/quarantined"]) == (1.0, 2.0)
    # What is kept aside is known, so that another rule pays for nothing again.
    kept = config.model_copy(update={"quality": QualityConfig(truncated="keep")})
    gold, _ = collect(kept, queries(4), None, Workspace(tmp_path / "w"), Told(), ME)
    assert [group.responses[0] for group in gold] == ["QUERY 0", "QUERY 1", "QUERY 3"]
    assert sum(server.received.values()) == 4
    strict = gold_of()
    with pytest.raises(ConfigError, match="m has no gold response for 2 of 4 queries"):
        collect(strict, queries(4), None, Workspace(tmp_path / "v"), Told(), ME)


def test_each_candidate_is_a_request_of_its_own(
    server: PaidServer, gold_of: Callable[..., GoldConfig], tmp_path: Path
) -> None:
    config = gold_of({"candidates": 3, "parameters": {"seed": 7}})
    gold, counts = collect(config, queries(2), None, Workspace(tmp_path / "w"), Told(), ME)
    assert [len(group.responses) for group in gold] == [3, 3] and counts["requests"] == 6.0
    assert [group.id for group in gold] == [query.id for query in queries(2)]
    assert counts["quality/duplicate"] == 0.0, "of one prompt they may be alike"
    assert sorted(body["seed"] for body in server.bodies) == [7, 7, 8, 8, 9, 9]
    again, counts = collect(config, queries(2), None, Workspace(tmp_path / "v"), Told(), ME)
    assert again == gold and counts["answered_before"] == 6.0
    ledger = Ledger(current_home().ledger)
    assert config.server and estimate_gold(config.server, queries(3), ledger).requests == 3
    with pytest.raises(ValueError, match="raise temperature"):
        gold_of({"candidates": 2, "temperature": 0})


def test_a_cap_stops_it_and_a_higher_one_goes_on(
    server: PaidServer, gold_of: Callable[..., GoldConfig], tmp_path: Path
) -> None:
    work, log = tmp_path / "w", Told()
    with pytest.raises(BudgetExhausted):
        collect(gold_of(budget={"dollars": 0.005}), queries(20), None, Workspace(work), log, ME)
    spent = Ledger(current_home().ledger).spent("work-1").dollars
    assert 0 < spent <= 0.005 and log.metrics["dollars"] == pytest.approx(spent)
    gold, _ = collect(gold_of(), queries(20), None, Workspace(work), Told(), ME)
    assert len(gold) == 20 and set(server.received.values()) == {1}


def test_an_estimate_by_hand(
    server: PaidServer, gold_of: Callable[..., GoldConfig], tmp_path: Path
) -> None:
    """`query 0` has 7 bytes, 1 token by four bytes each; nothing is known, so 8 of 16 tokens.

    At the most 4 + 7 + 16 + 64 = 91 tokens are read, the role's name counted, and 16 written.
    """
    config, ledger = gold_of().server, Ledger(current_home().ledger)
    assert config is not None
    found = estimate_gold(config, [*queries(2), *queries(2)], ledger)
    assert (found.queries, found.known, found.requests) == (2, 0, 2)
    assert found.likely == pytest.approx(Charge(2 * (1 * 10 + 8 * 20) / 1e6, 18))
    assert found.worst == pytest.approx(Charge(2 * (91 * 10 + 16 * 20) / 1e6, 214))
    assert "2 requests for about $0.0003 (18 tokens), at most $0.0025" in found.sentence()
    assert not server.bodies
    collect(gold_of(), queries(1), None, Workspace(tmp_path / "w"), Told(), ME)
    found = estimate_gold(config, queries(2), ledger)
    assert (found.known, found.requests) == (1, 1)
    assert found.likely.tokens == 1 + 10, "answers are as long as the one that is known"
    collect(gold_of(), queries(2), None, Workspace(tmp_path / "v"), Told(), ME)
    assert estimate_gold(config, queries(2), ledger).sentence().endswith("nothing is to pay")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"provider": "server"}, "needs `server`"),
        ({"provider": "server", "path": "a", "server": {}}, "path"),
        ({"provider": "chosen", "server": {}}, "only that provider reads it"),
        (
            {"provider": "server", "server": {"prompt_template": "no blank"}},
            "every query would be the",
        ),
        ({"provider": "server", "server": {"parameters": {"n": 3}}}, "n: said by the other keys"),
    ],
)
def test_a_configuration_that_cannot_be_meant(given: dict[str, Any], words: str) -> None:
    if "server" in given:
        place = {"url": "http://127.0.0.1:1/v1", "model": "m"}
        free = {"price": {"prompt": 0, "completion": 0}}
        given = {**given, "server": {"endpoint": {**place, **free}, **given["server"]}}
    with pytest.raises(ConfigError, match=words):
        validate(GoldConfig, given, "run.yaml")
