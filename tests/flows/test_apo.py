"""The flow `apo` end to end, through the command line, with real Prefect, MLflow and DVC."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tasks.data.files import read_groups
from tasks.stages.manifest import Manifest, list_manifests
from tasks.stages.runs.run_store import list_runs
from tests.flows.command import SMALL, Shell, sets

RUN = ("run", "apo", "-c", str(SMALL))
UPSTREAM = {"prepare_data", "initialise_policy", "SFT", "RM_Base", "collect_gold", "RM_Test"}
SPY = """
import atexit, sys
HEAVY = ("torch", "transformers", "mlflow", "dvc", "accelerate", "matplotlib", "datasets")
atexit.register(lambda: print("imported:", sorted(set(HEAVY) & set(sys.modules))))
from flows.cli.main import main
main()
"""


def ask(database: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


def made_by(shell: Shell, stage: str, label: str) -> Manifest:
    (found,) = [one for one in list_manifests(shell.home, stage) if one.label == label]
    return found


def test_the_report_has_the_papers_tables_figure_5_and_examples(finished: Shell) -> None:
    (folder,) = {
        one.folder(finished.home) for one in list_manifests(finished.home, "write_apo_report")
    }
    text = (folder / "report.md").read_text(encoding="utf-8")
    for number in (1, 2, 3, 4):
        assert f"Table {number}" in text
        assert len((folder / f"table-{number}.csv").read_text().splitlines()) > 1
    for suffix in ("png", "svg", "csv"):
        assert (folder / f"figure-5.{suffix}").stat().st_size > 0
        assert (folder / f"game.{suffix}").stat().st_size > 0
    assert (folder / "figure-5.png").read_bytes().startswith(b"\x89PNG")
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert "<table" in html and "<img" in html
    assert not re.search(r"(src|href)=.?https?:", html), "it can be read without a network"
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert len(report["examples"]) == 8
    for example in report["examples"]:
        assert set(example["outputs"]) == {"start", "DPO-v1", "APO-DPO-v1"}
    assert set(report["numbers"]["policies"]) >= {"start", "chosen", "golden-SFT", "APO-DPO-v1"}
    assert {"RM_Base", "RM_Test", "RM_All", "RM_APO-v1", "RM_WGAN-v1"} <= set(
        report["numbers"]["reward_models"]
    )


def test_mlflow_has_a_parent_run_and_a_child_per_executed_stage(finished: Shell) -> None:
    database = finished.folder / "mlruns" / "mlflow.db"
    run = list_runs(finished.home)[-1]
    runs = ask(database, "select run_uuid, name, status from runs")
    parents = dict(
        ask(database, "select run_uuid, value from tags where key = 'mlflow.parentRunId'")
    )
    (parent,) = [row for row in runs if row[1] == run.id]
    assert parent[2] == "FINISHED"
    children = [row for row in runs if parents.get(row[0]) == parent[0]]
    events = finished.events()
    executed = [event for event in events if event["state"] == "completed"]
    titles = [" · ".join(filter(None, (event["stage"], event["label"]))) for event in executed]
    assert Counter(row[1] for row in children) == Counter(titles)
    assert {row[2] for row in children} == {"FINISHED"}
    assert len({event["key"] for event in executed}) == len(executed)


def test_the_flows_run_in_mlflow_carries_its_result(finished: Shell) -> None:
    database = finished.folder / "mlruns" / "mlflow.db"
    run = list_runs(finished.home)[-1]
    (own,) = (row[0] for row in ask(database, f"select run_uuid from runs where name = '{run.id}'"))

    def values(table: str) -> dict[str, Any]:
        return dict(ask(database, f"select key, value from {table} where run_uuid = '{own}'"))

    metrics, params, tags = (values(table) for table in ("latest_metrics", "params", "tags"))
    figures = {
        "policy/kl", "policy/score/RM_Test", "policy/win_rate/start/RM_Test",
        "reward_model/test/accuracy", "cost/hours",
    }  # fmt: skip
    assert figures <= set(metrics)
    shown = [*metrics, *params, *(name for name in tags if not name.startswith("mlflow."))]
    assert len(shown) < 150
    assert params["seed"] == "0" and params["policy.method"] == "dpo"
    assert "APO-DPO-v1" in tags["sparring.result.policy"] and tags["sparring.headline"]
    assert tags["sparring.headline"] in tags["mlflow.note.content"]
    links = ask(
        database, f"select source_type, destination_type from inputs where source_id = '{own}'"
    )
    assert [kind for _, kind in links].count("MODEL_OUTPUT") == 2
    read = ask(database, f"select source_id from inputs where destination_id = '{own}'")
    names = dict(ask(database, "select dataset_uuid, name from datasets"))
    assert any("golden" in names[source] for (source,) in read if source in names)


def test_a_curve_in_mlflow_has_its_own_points_alone(finished: Shell) -> None:
    database = finished.folder / "mlruns" / "mlflow.db"
    rows = ask(database, "select run_uuid, key, step from metrics")
    curves = {(run, key) for run, key, step in rows if step > 0}
    assert curves and not [
        (run, key) for run, key, step in rows if not step and (run, key) in curves
    ]
    assert {(run, f"final/{key}") for run, key in curves} & {row[:2] for row in rows}


def test_mlflow_has_the_report_and_the_plots_to_read(finished: Shell) -> None:
    """Beside the numbers of the flow's run and of the stages; weights are in the store alone."""
    database = finished.folder / "mlruns" / "mlflow.db"
    run = list_runs(finished.home)[-1]
    artifacts = finished.folder / "mlruns" / "artifacts" / "apo"
    files = {
        name: {path.name for path in (artifacts / uuid / "artifacts" / "output").glob("*")}
        for uuid, name in ask(database, "select run_uuid, name from runs")
    }
    reports = {"report.md", "report.html", "report.json"}
    assert files[run.id] == reports | {"lineage.html", "lineage.json"}
    assert {"report.html", "figure-5.png", "table-2.csv"} <= files["write_apo_report"]
    assert "reliability.png" in files["evaluate_reward_model · RM_Base"]
    assert not [path for path in artifacts.rglob("*.safetensors")]


def test_prefect_has_the_flow_run_and_a_task_run_per_stage_call(finished: Shell) -> None:
    database = finished.home.prefect / "prefect.db"
    run = list_runs(finished.home)[-1]
    flow_runs = ask(database, "select id, state_type from flow_run")
    ours = run.prefect_flow_run.replace("-", "")
    assert [row[1] for row in flow_runs if row[0].replace("-", "") == ours] == ["COMPLETED"]
    rows = ask(database, "select flow_run_id, name, state_type, state_name from task_run")
    rows = [row for row in rows if row[0].replace("-", "") == ours]
    ends = [event for event in finished.events() if event["event"] == "finished"]
    assert len(rows) == len(ends)
    assert {row[2] for row in rows} == {"COMPLETED"}
    names = {"completed": "Completed", "cached": "Cached"}
    assert Counter(row[3] for row in rows) == Counter(names[event["state"]] for event in ends)
    assert "update_policy · APO-DPO-v1" in {row[1] for row in rows}
    artifacts = ask(database, "select key, type from artifact where flow_run_id is not null")
    assert {("apo-report", "markdown"), ("apo-table-2", "table")} <= set(artifacts)


def test_a_second_run_is_all_cached_and_light(finished: Shell) -> None:
    before = (finished.finished_keys(), finished.home.servers.stat().st_mtime_ns)
    runs = [run.id for run in list_runs(finished.home)]
    done = finished(*RUN, program=SPY)
    assert done.stdout.splitlines()[-1] == "imported: []"
    assert "stages are done already, nothing ran" in done.stdout
    assert "± is one standard error" in done.stdout, "the headline's table is shown again"
    assert (finished.finished_keys(), finished.home.servers.stat().st_mtime_ns) == before
    assert [run.id for run in list_runs(finished.home)] == runs


def test_the_baseline_alone_needs_only_a_new_report(finished: Shell, prefect_server: str) -> None:
    words = [*RUN[1:], *sets("adversarial=false", "reward.ablations=[]")]
    todo = [stage for stage in finished.json("plan", *words) if stage["state"] != "done"]
    assert [stage["stage"] for stage in todo] == ["write_apo_report"]
    finished("run", *words, PREFECT_API_URL=prefect_server)
    report = finished.json("report")
    assert {"start", "DPO-v1"} <= set(report["numbers"]["policies"])
    assert "APO-DPO-v1" not in report["numbers"]["policies"]
    assert not [name for name in report["numbers"]["reward_models"] if "APO" in name]


# The quick representative is the second run of test_promotion.py, by rjs.
@pytest.mark.slow
@pytest.mark.parametrize("method", ["rrhf", "rjs", "sft"])
def test_another_method_reuses_what_lies_before_it(finished: Shell, method: str) -> None:
    words = [*RUN[1:], *sets(f"policy.method={method}", "baseline=false", "golden_sft=null")]
    planned = finished.json("plan", *words)
    done = {stage["label"] or stage["stage"] for stage in planned if stage["state"] == "done"}
    assert done >= UPSTREAM | {"RM_APO-v1"}
    name = f"APO-{method.upper()}-v1"
    update = [one for one in planned if (one["stage"], one["label"]) == ("update_policy", name)]
    assert [one["state"] for one in update] in (["waiting"], ["to run"])
    shown = finished("run", *words).stdout
    assert f"✓ update_policy · {name}  completed" in shown
    for reused in ("prepare_data", "initialise_policy", "update_policy · SFT"):
        assert f"= {reused}  cached" in shown
    assert name in finished.json("report")["numbers"]["policies"]


def test_plain_transformers_scores_a_pair_as_sparring_does(finished: Shell) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from tasks.models.reward_model import load_reward_model
    from tasks.models.scoring.group_scores import score_groups
    from tasks.models.tokens.encoding import Limits
    from tasks.models.tokens.tokenizer import load_tokenizer

    folder = made_by(finished, "update_reward_model", "RM_APO-v1").folder(finished.home)
    pairs = next(iter(list_manifests(finished.home, "prepare_data"))).folder(finished.home)
    group = next(iter(read_groups(pairs / "test")))
    limits = Limits(max_prompt_tokens=96, max_response_tokens=128)
    (ours,) = score_groups(load_reward_model(folder), load_tokenizer(folder), None, [group], limits)
    # From here on only what is written in the model's folder, and nothing of Sparring's.
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    messages = [turn._asdict() for turn in group.prompt]
    rows = [
        tokenizer.apply_chat_template(
            [*messages, {"role": "assistant", "content": response}], return_dict=False
        )
        for response in group.responses
    ]
    batch = tokenizer.pad({"input_ids": rows}, padding_side="right", return_tensors="pt")
    with torch.inference_mode():
        theirs = model(**batch).logits[:, 0]
        alone = [model(torch.tensor([row])).logits[0, 0].item() for row in rows]
    assert theirs.tolist() == pytest.approx(ours, rel=1e-5)
    assert alone == pytest.approx(ours, abs=1e-5)
    assert ours[0] != ours[1]


def test_plain_transformers_generates_with_the_policy(finished: Shell) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = made_by(finished, "update_policy", "APO-DPO-v1").folder(finished.home)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hello."}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    # The folder says how it is sampled and how long its responses are.
    output = model.generate(**prompt)
    new = output[0, prompt["input_ids"].shape[1] :]
    assert 1 <= len(new) <= 128 and tokenizer.decode(new)
    assert prompt["input_ids"][0, 0] == tokenizer.bos_token_id


def test_a_model_to_compare_with_enters_the_contest(finished: Shell) -> None:
    other = made_by(finished, "update_policy", "SFT").folder(finished.home)
    planned = finished.json("plan", *RUN[1:], *sets(f"compare_with.other={other}"))
    labels = {(stage["stage"], stage["label"]): stage["state"] for stage in planned}
    # The same weights were sampled already as the start of the game.
    assert labels["sample_responses", "other"] == "done"
    assert labels["evaluate_policy", "other"] == "to run"
