"""A judge in the flow `apo`: asked once about each pair in both orders, and read in the report."""

from __future__ import annotations

import json
import shutil

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
