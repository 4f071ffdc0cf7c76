"""The flow `apo` with bought gold: the cap ends it with exit code 4, a higher one goes on."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.configs.apo import ApoConfig
from flows.steps.inputs import prepared_data
from tasks.collect_gold import collect_gold
from tasks.data.files import read_groups
from tasks.endpoints.ledger import Ledger
from tasks.settings.errors import BudgetExhausted
from tasks.settings.loading import load_config
from tasks.stages.manifest import list_manifests
from tasks.stages.runs.context import RunContext, entered
from tasks.storage.home import current_home
from tests.flows.command import SMALL, Shell, sets
from tests.flows.judging import judge_keys, longer_wins
from tests.servers.paid_server import Body, PaidServer, chat_answer, said

KEY = "sk-canary-987654"


def small(server: PaidServer, dollars: float) -> dict[str, Any]:
    """The small configuration, with its gold from a server that loses some of what it bills."""
    endpoint = {
        "url": server.url,
        "model": "teacher",
        "api_key": "TEACHER_API_KEY",
        "price": {"prompt": 10, "completion": 20},
        "budget": {"dollars": dollars},
        "patience": {"request_seconds": 0.5, "first_pause": 0.01, "longest_pause": 0.1},
    }
    gold = {
        "provider": "server",
        "dev_share": 0.25,
        "max_unanswered_share": 0,
        "server": {"endpoint": endpoint, "max_tokens": 64},
    }
    return load_config(SMALL) | {"gold": gold}


def test_the_stage_stops_at_the_cap_and_goes_on_with_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One key for both: the budget is not part of it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPARRING_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TEACHER_API_KEY", KEY)
    home = current_home().ensure()
    with PaidServer(0.1, hang=0.7) as server:
        poor, rich = (ApoConfig.model_validate(small(server, most)) for most in (0.01, 1.0))
        with entered(RunContext(home, "run-1")):
            queries = prepared_data(poor, []).part("rm_queries")
            with pytest.raises(BudgetExhausted):
                collect_gold(queries, None, None, config=poor.gold)
        first = list(Ledger(home.ledger).entries())
        assert first and sum(entry.charge.dollars for entry in first) <= 0.01
        with entered(RunContext(home, "run-2")):
            gold = collect_gold(queries, None, None, config=rich.gold)
        asked = len({group.id for group in read_groups(queries.path)})
        counts = gold.metrics
        assert counts["answered"] == asked and counts["train"] + counts["dev"] == asked
        known = sum(entry.outcome == "answered" for entry in first)
        assert 0 < known == counts["answered_before"]
        entries = list(Ledger(home.ledger).entries())
        assert sum(entry.outcome == "answered" for entry in entries) == asked
        assert {entry.account.run for entry in entries} == {"run-1", "run-2"}
        assert len({entry.account.work for entry in entries}) == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and holds_key(path)]


def holds_key(path: Path) -> bool:
    return KEY.encode() in path.read_bytes()


@pytest.mark.slow
def test_the_flow_ends_with_4_and_goes_on(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    path = tmp_path / "paid.yaml"
    with PaidServer(0.3, hang=0.7) as server:
        path.write_text(yaml.safe_dump(small(server, 0.01)))
        words = ("run", "apo", "-c", str(path))
        assert "TEACHER_API_KEY is not set" in shell(*words, code=2).stderr
        own = {"TEACHER_API_KEY": KEY}
        assert "is used up" in shell(*words, code=4, **own).stderr
        path.write_text(yaml.safe_dump(small(server, 1.0)))
        more = ("--set", "budget.dollars=0.02")
        assert "the run's budget of $0.02" in shell(*words, *more, code=4, **own).stderr
        told = json.loads(shell("gold", "estimate", "-c", str(path), "--json").stdout)
        assert 0 < told["known"] < told["queries"]
        assert "gold from teacher: " in shell("plan", "apo", "-c", str(path)).stdout
        shell("resume", "latest", "--set", "budget.dollars=1", **own)
    told = json.loads(shell("cost", "--json").stdout)
    first, second = told["lines"]
    assert first["dollars"] <= 0.01 and first["run"] != second["run"]
    parts = json.loads(shell("cost", second["run"], "--json").stdout)["parts"]
    assert {"collect_gold", "epoch 1 of DPO"} <= {one["name"] for one in parts}
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and holds_key(file)]


@pytest.mark.slow
def test_a_judge_picks_the_gold_and_has_a_say_in_the_promotion(tmp_path: Path) -> None:
    """Each query has a long candidate and a short one, and the judge likes length."""
    shell, asked = Shell(tmp_path), Counter[str]()

    def reply(body: Body) -> Body:
        if body["model"] == "judge-1":
            return longer_wins(body)
        asked[said(body)] += 1
        return chat_answer(body, "Tea." if asked[said(body)] == 1 else "Tea, with pleasure.")

    with PaidServer() as server:
        server.reply = reply
        settings = small(server, 1.0)
        settings["gold"]["server"] |= {"candidates": 2, "best_by": "judge", "temperature": 1.0}
        path = tmp_path / "paid.yaml"
        path.write_text(yaml.safe_dump(settings))
        words = ("apo", "-c", str(path), *judge_keys(server.url))
        assert "at most 2 to choose the gold of each query" in shell("plan", *words).stdout
        shell("run", *words, TEACHER_API_KEY=KEY)
        (picked,) = list_manifests(shell.home, "pick_gold")
        folder = picked.folder(shell.home)
        chosen = [one for part in ("train", "dev") for one in read_groups(folder / part)]
        assert {one.responses for one in chosen} == {("Tea, with pleasure.",)}
        assert picked.metrics["candidates"] == 2 * len(chosen) == asked.total()
        low = ("gate.min_win_rate=0.01", "gate.min_judge_accuracy=null")
        refused = shell("promote", *sets(*low, "gate.min_judged_win_rate=0.99"), code=3)
        assert "the gate refuses for win rate against start, by the judge" in refused.stderr
        shell("promote", *sets(*low, "gate.min_judged_win_rate=0.001", "gate.max_flipped=1"))
    evidence = list_manifests(shell.home, "decide_promotion")[-1].metrics
    assert evidence["holds"] == 1 and evidence["judged_pairs"] > 0
