"""What a Prefect user sees in a real browser: true states, the form, the report, and Retry."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.stages.runs.run_store import list_runs
from tests.flows.command import SMALL
from tests.flows.scheduling import Deployed, deployed_flow
from tests.servers.browser import Browser, browse


@pytest.mark.slow
@pytest.mark.real
def test_retry_in_the_browser_skips_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chromium: str
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    config = yaml.safe_load(SMALL.read_text())
    # The gold responses are missing the first time: what lies before them is done then.
    gold = tmp_path / "golden.jsonl"
    config["gold"]["path"] = "golden.jsonl"
    (tmp_path / "plain.yaml").write_text(yaml.safe_dump(config))
    with deployed_flow(tmp_path) as deployed, browse(chromium, tmp_path / "browser") as browser:
        deployed.deploy(tmp_path / "plain.yaml", "--replace")
        flow_run = deployed.fire()
        pages = deployed.url.removesuffix("/api")
        browser.open(f"{pages}/runs/flow-run/{flow_run}")
        assert deployed.wait(flow_run) == ["Failed"]
        browser.wait_for("golden.jsonl", 60)
        browser.shot("prefect-failed")
        done = {
            one["name"] for one in tasks(deployed, flow_run) if one["state_type"] == "COMPLETED"
        }
        assert "update_policy · SFT" in done
        gold.write_bytes((tmp_path / "data/playground/golden.jsonl").read_bytes())
        browser.click("Retry", "button")
        browser.shot("prefect-retry")
        browser.click("Retry", "button")
        assert deployed.wait(flow_run) == ["Completed"]
        look_around(browser, pages, flow_run, deployed.deployment)
        ends = tasks(deployed, flow_run)
        where = {"logs": {"flow_run_id": {"any_": [flow_run]}}, "limit": 200}
        lines = [one["message"] for one in deployed.ask("logs/filter", where)]
    (run,) = list_runs(deployed.shell.home)
    assert run.status == "completed" and run.prefect_flow_run == flow_run
    assert done <= {task["name"] for task in ends if task["state_name"] == "Cached"}
    assert {task["state_type"] for task in ends} == {"COMPLETED"}
    assert_edges_and_lines(ends, lines)


def assert_edges_and_lines(ends: list[dict[str, Any]], lines: list[str]) -> None:
    """The graph leads from the data to the report, and the log says how trainings went."""
    by_id = {task["id"]: task["name"] for task in ends}
    after = {
        task["name"]: {
            by_id[one["id"]] for one in task["task_inputs"]["inputs"] if one["id"] in by_id
        }
        for task in ends
    }
    assert "prepare_data" in after["update_policy · SFT"]
    assert len(after["write_apo_report"]) > 3
    assert any(re.fullmatch(r"update_\w+ · .*, step \d+: .*loss.*", line) for line in lines), lines


def look_around(browser: Browser, pages: str, flow_run: str, deployment: str) -> None:
    """Visit the pages of a finished flow run and the form that starts another."""
    browser.open(f"{pages}/runs/flow-run/{flow_run}")
    browser.click("Task Runs")
    browser.wait_for("write_apo_report", 60)
    browser.shot("prefect-completed")
    browser.click("Artifacts")
    browser.wait_for("Table 2", 30)
    browser.shot("prefect-artifacts")
    browser.open(f"{pages}/deployments/deployment/{deployment}/run")
    # The form has the fields of the configuration, with their docstrings as help.
    browser.wait_for("Outer rounds of the game", 60)
    browser.shot("prefect-form")


def tasks(deployed: Deployed, flow_run: str) -> list[dict[str, Any]]:
    """Return the task runs of a flow run."""
    query = {"flow_runs": {"id": {"any_": [flow_run]}}}
    return list(deployed.ask("task_runs/filter", query))
