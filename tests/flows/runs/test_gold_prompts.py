"""Queries go out to be answered, and the answers come back by prompt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flows.configs.apo import ApoConfig
from flows.configs.exo import ExoConfig
from flows.configs.recurring import RunBudget
from flows.runs.gold_prompts import (
    estimate_run,
    planned_bill,
    planned_waits,
    write_gold_prompts,
)
from flows.runs.preflight import check_keys
from flows.shrinking.config import Smallness, shrink_data
from tasks.data.files import read_groups
from tasks.data.prepare import prepare
from tasks.data.sources.config import SourceConfig
from tasks.evaluation.judging.config import JudgeConfig
from tasks.evaluation.judging.human_config import HumanEvaluationConfig
from tasks.gold.collection import collect
from tasks.settings.errors import ConfigError
from tasks.settings.loading import load_config
from tasks.settings.log import NullLog
from tasks.stages.runs.context import PlannedStage
from tasks.storage.workspace import Workspace

CONFIGS = Path(__file__).parents[1] / "configs"


def config(folder: Path, gold: dict[str, Any] | None = None) -> ApoConfig:
    """Pairs of one to three turns: two for some prompts, and texts with line breaks."""
    talk = "\n\nHuman: it is  {i}\n\nAssistant: so?\n\nHuman: then\nwhat?"
    prompts = [f"sum {i}\nof two" if i % 3 else talk.format(i=i) for i in range(90)]
    rows = [{"prompt": one, "chosen": "yes", "rejected": "no"} for one in [*prompts, *prompts[:9]]]
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"preferences": [{"path": str(path)}], "split": {"rm_share": 0.5}}
    gold = gold or {"path": str(folder / "gold.jsonl")}
    return ApoConfig(**load_config(CONFIGS / "small.yaml") | {"data": data, "gold": gold})


def test_every_query_is_written_once_and_its_answer_found_in_any_order(tmp_path: Path) -> None:
    settings, output = config(tmp_path), tmp_path / "queries.jsonl"
    count = write_gold_prompts(settings, output)
    prepare(settings.data, tmp_path / "parts", NullLog())
    queries = list(read_groups(tmp_path / "parts/rm_queries"))
    lines = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert [line["id"] for line in lines] == [query.id for query in queries] and count > 20
    answers = tmp_path / "gold.jsonl"
    written = [{**line, "response": f"gold of {line['id']}"} for line in reversed(lines)]
    answers.write_text("".join(json.dumps(line) + "\n" for line in written))
    found, metrics = collect(
        settings.gold, queries, answers, Workspace(tmp_path / "work"), NullLog()
    )
    assert (metrics["answered"], metrics["unanswered"]) == (count, 0)
    assert [one.responses for one in found] == [(f"gold of {one.id}",) for one in queries]


def test_the_written_file_names_queries_that_keep_their_pairs(tmp_path: Path) -> None:
    """As `data.rm_queries` it changes nothing: D_P is what it was."""
    settings, output = config(tmp_path), tmp_path / "queries.jsonl"
    write_gold_prompts(settings, output)
    named = settings.data.model_copy(update={"rm_queries": [SourceConfig(path=str(output))]})
    for name, data in (("own", settings.data), ("named", named)):
        prepare(data, tmp_path / name, NullLog())
    for part in ("rm_train", "policy_train", "dev", "test"):
        own, again = (list(read_groups(tmp_path / name / part)) for name in ("own", "named"))
        assert own == again


def test_nobody_is_asked_where_the_pairs_answer_or_there_is_no_gold(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nobody is asked"):
        write_gold_prompts(config(tmp_path, {"provider": "chosen"}), tmp_path / "q.jsonl")
    exo = ExoConfig(**load_config(CONFIGS / "exo-small.yaml"))
    with pytest.raises(ConfigError, match="asks for no gold"):
        write_gold_prompts(exo, tmp_path / "q.jsonl")
    assert not (tmp_path / "q.jsonl").exists()


ASKED = "by the budgets of those asked"
SERVER = {
    "provider": "server",
    "server": {
        "endpoint": {
            "url": "https://a.example/v1",
            "model": "teacher",
            "api_key": "TEACHER_API_KEY",
            "price": {"prompt": 1, "completion": 2},
            "budget": {"dollars": 1},
        }
    },
}


def test_the_bill_is_of_the_queries_that_a_run_will_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARRING_HOME", str(tmp_path / "home"))
    settings = config(tmp_path, SERVER)
    found = estimate_run(settings)
    assert found.queries == write_gold_prompts(settings, tmp_path / "queries.jsonl") > 20
    waiting = PlannedStage("collect_gold", "", "", "waiting", "waits for data")
    gold = f"gold from teacher: {found.sentence()}"
    assert planned_bill(settings, [waiting]) == f"{gold}\nat most $1.00 in all, {ASKED}"
    done = PlannedStage("collect_gold", "", "k", "done", "")
    assert planned_bill(settings, [done]) == "" == planned_bill(config(tmp_path), [waiting])
    with pytest.raises(ConfigError, match="nobody is paid"):
        estimate_run(config(tmp_path))


def test_the_bill_has_the_requests_of_a_judge(tmp_path: Path) -> None:
    endpoint = {**SERVER["server"]["endpoint"], "model": "gpt"}
    settings = config(tmp_path).model_copy(
        update={"judge": JudgeConfig(endpoint=endpoint, prompts=50)}  # type: ignore[arg-type]
    )
    waits = PlannedStage("judge_responses", "", "", "waiting", "waits for samples")
    done = PlannedStage("judge_responses", "", "k", "done", "")
    judge = "judge gpt: requests, at most 200 in 2 matches; the budget is $1.00"
    assert planned_bill(settings, [waits, done, waits]) == f"{judge}\nat most $1.00 in all, {ASKED}"
    another = {"endpoint": {**endpoint, "model": "b"}}
    checked = JudgeConfig.model_validate({"endpoint": endpoint, "cross_check": another})
    assert planned_bill(settings.model_copy(update={"judge": checked}), [waits]).split("\n") == [
        "judge gpt: requests, at most 200 in 1 matches; the budget is $1.00",
        "judge b: the same; the budget is $1.00",
        f"at most $2.00 in all, {ASKED}",
    ]
    both = settings.model_copy(update={"gold": config(tmp_path, SERVER).gold})
    to_do = [PlannedStage("collect_gold", "", "", "waiting", "waits for data"), waits]
    assert planned_bill(both, to_do).endswith(f"\nat most $2.00 in all, {ASKED}")
    server = both.gold.server
    assert server is not None
    several = server.model_copy(update={"candidates": 3, "best_by": "judge"})
    chosen = both.model_copy(update={"gold": both.gold.model_copy(update={"server": several})})
    pick = PlannedStage("pick_gold", "", "", "waiting", "waits for gold")
    assert "judge gpt: requests, at most 4 to choose the gold of each query; the budget" in (
        planned_bill(chosen, [pick])
    )
    capped = both.model_copy(update={"budget": RunBudget(dollars=1.5)})
    assert planned_bill(capped, to_do).endswith("at most $1.50 in all, by the budget of the run")
    assert planned_bill(settings, [done]) == ""
    assert shrink_data(settings, Smallness()).judge is None, "a rehearsal asks nobody"


def test_a_missing_key_is_said_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(tmp_path, SERVER)
    monkeypatch.delenv("TEACHER_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="TEACHER_API_KEY is not set"):
        check_keys(settings)
    monkeypatch.setenv("TEACHER_API_KEY", "sk-1")
    check_keys(settings)


def test_a_rehearsal_pays_nobody(tmp_path: Path) -> None:
    source = {"path": str(tmp_path / "pairs.jsonl")}
    settings = config(tmp_path, SERVER)
    data = settings.data.model_copy(update={"rm_queries": [SourceConfig(**source)]})
    judge = JudgeConfig(endpoint=settings.gold.server.endpoint)
    paid = settings.model_copy(update={"data": data, "judge": judge})
    small = shrink_data(paid, Smallness())
    assert small.judge is None
    assert small.gold.provider == "chosen" and small.gold.server is None
    assert ApoConfig.model_validate(small.model_dump()).data.rm_queries == []


def test_a_plan_says_where_people_are_waited_for(tmp_path: Path) -> None:
    people = {"provider": "people", "people": {"quorum": 2, "enough": 0.9}}
    settings = config(tmp_path, people).model_copy(
        update={"human_evaluation": HumanEvaluationConfig(prompts=50)}
    )
    ask = PlannedStage("ask_people", "", "", "to run", "never ran here")
    match = PlannedStage("judge_by_people", "", "", "waiting", "waits for samples")
    done = PlannedStage("judge_by_people", "", "k", "done", "")
    assert planned_waits(settings, [ask, match, done, match]).split("\n") == [
        "the run will wait for people at ask_people for gold: 2 people, until 90% are complete, "
        "for each query",
        "the run will wait for people at judge_by_people in 2 matches: 3 people for each of at "
        "most 50 prompts",
    ]
    assert planned_waits(settings, [done]) == "" == planned_waits(config(tmp_path), [match])


def test_an_estimate_of_candidates_counts_candidates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARRING_HOME", str(tmp_path / "home"))
    one = estimate_run(config(tmp_path, SERVER))
    several = {**SERVER, "server": {**SERVER["server"], "candidates": 3}}
    three = estimate_run(config(tmp_path, several))
    assert three.queries == 3 * one.queries
    assert three.sentence().startswith(f"{three.queries} candidates, 3 a query, 0 of them")
