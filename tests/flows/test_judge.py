"""A judge in the flow `apo`, and by `sparring judge`: asked once about each pair in both orders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tasks.stages.manifest import list_manifests
from tests.flows.command import SMALL, Shell, sets
from tests.flows.judging import judge_keys, longer_wins
from tests.servers.paid_server import PaidServer


@pytest.fixture(scope="module")
def asked(
    untouched: Shell, prefect_server: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Shell, PaidServer]:
    """The small run once more with a judge, twice: the second time nothing is left to do."""
    folder = tmp_path_factory.mktemp("judged") / "copy"
    shutil.copytree(untouched.folder, folder, symlinks=True)
    shell = Shell(folder, variables={"PREFECT_API_URL": prefect_server})
    with PaidServer() as server:
        server.reply = longer_wins
        words = ("run", "apo", "-c", str(SMALL), *judge_keys(server.url))
        shell(*words)
        sent = server.received.total()
        shell(*words)
        assert server.received.total() == sent, "what was answered is not asked again"
    return shell, server


def report_of(shell: Shell) -> dict[str, object]:
    folder = max(
        (one.folder(shell.home) for one in list_manifests(shell.home, "write_apo_report")),
        key=lambda path: path.stat().st_mtime,
    )
    found: dict[str, object] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return found


def test_every_pair_is_asked_in_both_orders_and_none_twice(
    asked: tuple[Shell, PaidServer],
) -> None:
    shell, server = asked
    matches = list_manifests(shell.home, "judge_responses")
    assert {one.label for one in matches} == {
        "APO-DPO-v1 vs start", "APO-DPO-v1 vs DPO-v1", "APO-DPO-v1 vs chosen",
        "APO-DPO-v1 vs golden-SFT", "DPO-v1 vs start", "DPO-v1 vs chosen",
        "DPO-v1 vs golden-SFT", "chosen vs rejected",
    }  # fmt: skip
    for one in matches:
        assert one.metrics["asked"] == one.metrics["valid"] == 6
        shares = [one.metrics[name] for name in ("win", "lose", "tie")]
        assert sum(shares) == pytest.approx(1)
    assert set(server.received.values()) == {1}
    assert {body["model"] for body in server.bodies} == {"judge-1"}


def test_the_report_shows_who_won_and_what_the_judge_said(
    asked: tuple[Shell, PaidServer],
) -> None:
    shell, _ = asked
    report = report_of(shell)
    tables = report["tables"]
    assert isinstance(tables, dict)
    rows = {row[0]: row for row in tables["judge"]["rows"]}
    assert rows["APO-DPO-v1 vs start"][1] == "6 of 6"
    findings, examples = report["findings"], report["examples"]
    assert isinstance(findings, list) and isinstance(examples, list)
    assert any("APO-DPO-v1 vs start by the judge: wins" in one for one in findings)
    assert any("the judge agrees with people on" in one for one in findings)
    said_of = [one for one in examples if any("judge, " in name for name in one["outputs"])]
    assert said_of and "Better: " in json.dumps(said_of[0])


def test_the_verb_uses_the_judge_of_the_run_and_pays_nothing_twice(
    asked: tuple[Shell, PaidServer],
) -> None:
    """The server is gone: all that is asked is in the ledger already."""
    shell, _ = asked
    said = shell("judge", "latest/APO-DPO-v1", "latest/DPO-v1", "--dry-run").stdout
    assert said.startswith("APO-DPO-v1 against DPO-v1, judged by judge-1: ")
    assert said.endswith("answered in the ledger: nothing is to pay\n")
    told = shell.json("judge", "latest", "latest/DPO-v1", "--policy", "APO-DPO-v1", "--people")
    assert set(told["matches"]) == {"APO-DPO-v1 vs DPO-v1", "chosen vs rejected"}
    found = told["matches"]["APO-DPO-v1 vs DPO-v1"]
    assert found["asked"] == found["valid"] == 6 and set(found["agreement"]) == {
        "RM_All", "RM_Test",
    }  # fmt: skip
    (match,) = [
        one for one in list_manifests(shell.home, "judge_responses")
        if one.label == "APO-DPO-v1 vs DPO-v1"
    ]  # fmt: skip
    assert match.metrics["win"] == found["rates"]["win"], "the stage of the run itself"
    assert shell.json("ls")[0]["flow"] == "judge"
    assert "apo-" in shell("status", "latest").stdout, "latest is no judging"
    shown = shell("judge", "latest/APO-DPO-v1", "latest/DPO-v1", "--people").stdout
    assert "win at equal length" in shown.lower() and "RM_Test (%)" in shown
    page = told["report"]["folder"] + "/report.md"
    assert "judge, APO-DPO-v1 first" in Path(page).read_text(encoding="utf-8")


def test_the_verb_lets_policies_answer_new_prompts_and_meets_files(
    asked: tuple[Shell, PaidServer],
) -> None:
    shell, _ = asked
    prompts = [{"prompt": f"What is {number}?", "response": "A number."} for number in range(3)]
    lines = "".join(json.dumps(one) + "\n" for one in prompts)
    (shell.folder / "new.jsonl").write_text(lines, encoding="utf-8")
    words = ("judge", "latest/APO-DPO-v1", "new.jsonl", "--prompts", "new.jsonl")
    with PaidServer() as server:
        server.reply = longer_wins
        budget = {"price": {"prompt": 100, "completion": 100}, "budget": {"dollars": 0.1}}
        said = shell(*words, "--dry-run").stdout
        assert "at most 12 questions, once the policies have answered" in said
        found = shell.json(*words, *sets(f"judge.endpoint.url={server.url}"))
        (match,) = found["matches"].values()
        assert match["asked"] == 3 and server.received.total() <= 6
        stopped = shell(*words, *sets(
            f"judge.endpoint={json.dumps({'url': server.url, 'model': 'dear', **budget})}"
        ), code=4)  # fmt: skip
        assert "the budget of $0.10 does not reach for a single call" in stopped.stderr
        run = shell.json("ls")[0]["run"]
        more = f"`sparring resume {run} --set judge.endpoint.budget.dollars=…`"
        assert more in stopped.stderr
        assert shell.json("ls")[0]["status"] == "failed"


def test_what_the_verb_cannot_judge_is_said(asked: tuple[Shell, PaidServer]) -> None:
    shell, _ = asked
    (shell.folder / "a.jsonl").write_text('{"prompt": "1?", "response": "1"}\n', encoding="utf-8")
    (shell.folder / "b.jsonl").write_text('{"prompt": "2?", "response": "2"}\n', encoding="utf-8")
    assert "nobody is named who judges" in shell.refusal("judge", "a.jsonl", "b.jsonl")
    judge = sets(
        "judge.endpoint={url: http://127.0.0.1:9/v1, model: m, price: {prompt: 0, completion: 0}}"
    )
    refusal = shell.refusal("judge", "a.jsonl", "b.jsonl", *judge)
    assert "answered no prompt in common" in refusal
    assert "the same answers" in shell.refusal("judge", "a.jsonl", "a.jsonl", *judge)
    (shell.folder / "c.jsonl").write_bytes((shell.folder / "a.jsonl").read_bytes())
    refusal = shell.refusal("judge", "a.jsonl", "c.jsonl", *judge)
    assert "a and c are the same answers to 1 prompt, all that" in refusal
    (shell.folder / "d.jsonl").write_text('{"prompt": "1?"}\n', encoding="utf-8")
    refusal = shell.refusal("judge", "a.jsonl", "d.jsonl", *judge)
    assert "d.jsonl has 1 prompt and no answers: an answer stands in the column `res" in refusal
    asked_rm = ("judge", "latest/RM_Test", "a.jsonl", "--prompts", "a.jsonl")
    assert "is no policy" in shell.refusal(*asked_rm, *judge)
    assert "only values of the judge" in shell.refusal(
        "judge", "a.jsonl", "b.jsonl", *sets("seed=1")
    )


def test_a_judge_that_is_down_stops_the_run_with_one_sentence(
    asked: tuple[Shell, PaidServer],
) -> None:
    shell, _ = asked
    keys = judge_keys("http://127.0.0.1:9/v1")
    keys += sets(
        "judge.endpoint.model=judge-2",
        "judge.endpoint.patience={retries: 1, first_pause: 0.01, connect_seconds: 0.5, "
        "breaker_failures: 1, breaker_seconds: 0.01, breaker_probes: 1}",
    )
    refusal = shell.refusal("run", "apo", "-c", str(SMALL), *keys, code=1)
    assert "model server" in refusal
