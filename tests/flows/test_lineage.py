"""`sparring lineage` and `sparring why` on a real small run, and its page in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

from tasks.stages.lineage.writing import write_lineage
from tasks.stages.manifest import list_manifests
from tests.flows.command import Shell
from tests.servers.browser import browse


def _key(shell: Shell, stage: str, label: str) -> str:
    return next(m.key for m in list_manifests(shell.home, stage) if m.label == label)


def test_the_ancestors_of_a_policy_are_a_tree(untouched: Shell) -> None:
    key = _key(untouched, "update_policy", "APO-DPO-v1")
    lines = untouched("lineage", key[:10]).stdout.splitlines()
    assert lines[0].startswith(f"update_policy · APO-DPO-v1  {key[:12]}")
    shown = "\n".join(lines)
    for title in ("prepare_data", "update_reward_model · RM_APO-v1", "golden.jsonl"):
        assert len(re.findall(rf"{re.escape(title)}  \w{{12}}(?!.*shown elsewhere)", shown)) == 1
    assert "queries (policy_train): prepare_data" in shown and "evaluate" not in shown
    assert "── policy: update_policy · SFT" in shown
    assert "reference_logps: compute_reference_logps · APO-DPO-v1" in shown
    assert "reference: update_policy · SFT" in shown


def test_the_descendants_of_a_file(untouched: Shell) -> None:
    shown = untouched("lineage", "latest", "--json").stdout
    gold = next(n for n in json.loads(shown)["nodes"] if n["title"] == "golden.jsonl")
    down = untouched.json("lineage", gold["digest"], "--down")
    titles = {node["title"] for node in down["nodes"]}
    assert {"collect_gold", "update_policy · golden SFT", "write_apo_report"} <= titles
    assert "prepare_data" not in titles and "update_policy · SFT" not in titles
    short = untouched("lineage", gold["digest"], "--down", "--depth", "1").stdout.splitlines()
    assert len(short) == 3 and "more" in short[-1]


def test_a_run_shows_all_that_it_made(untouched: Shell) -> None:
    found = untouched.json("lineage", "latest")
    nodes = {node["id"]: node for node in found["nodes"]}
    artifacts = {name for name, one in nodes.items() if one["kind"] == "artifact"}
    assert set(untouched.finished_keys()) == artifacts
    assert nodes[found["focus"]]["status"] == "completed"
    made = [edge for edge in found["edges"] if edge["role"] == "made"]
    assert {edge["to"] for edge in made} == set(untouched.finished_keys())
    assert untouched("lineage", "latest").stdout.startswith(f"{found['focus'][4:]}  apo, completed")


def test_lineage_refuses_what_is_nothing(untouched: Shell) -> None:
    assert "nothing here has the key, digest or run id" in untouched.refusal("lineage", "abcdef12")
    assert "apo has no champion yet" in untouched.refusal("lineage", "apo/champion")


def test_lineage_is_quick_and_light(untouched: Shell) -> None:
    program = (
        "import sys; from flows.cli.main import app; app(standalone_mode=False);"
        "print({'torch', 'mlflow', 'prefect'} & set(sys.modules), file=sys.stderr)"
    )
    began = time.monotonic()
    done = untouched("lineage", "latest", program=program)
    assert done.stderr.strip() == "set()"
    assert time.monotonic() - began < 5


@pytest.fixture
def page(untouched: Shell, tmp_path: Path) -> Path:
    """The page of the small run."""
    path = tmp_path / "lineage.html"
    shown = untouched("lineage", "latest", "--html", str(path)).stdout
    assert re.match(r"\d+ nodes in ", shown)
    return path


def test_the_page_of_a_run_in_a_browser(
    page: Path, untouched: Shell, chromium: str, tmp_path: Path
) -> None:
    made = f"made {len(untouched.finished_keys())}"
    with browse(chromium, tmp_path) as browser:
        browser.open(page.as_uri())
        assert "Lineage of apo-" in browser.text and made in browser.text
        boxes = browser.driver.find_elements(By.CSS_SELECTOR, ".node")
        told = re.search(r"(\d+) stages, (\d+) input files", browser.text)
        assert told and len(boxes) == int(told[1]) + int(told[2])
        box = next(b for b in boxes if b.text.split("\n")[:2] == ["update_policy", "DPO-v1"])
        box.find_element(By.TAG_NAME, "text").click()
        text = browser.wait_for("comes from")
        assert "update_policy · DPO-v1" in text and "was used for" in text and "metrics" in text
        on = [one for one in boxes if "on" in one.get_attribute("class").split()]
        lit = {one.text.split("\n")[1] for one in on}
        assert {"SFT", "DPO-v1", "preferences.jsonl"} <= lit and "RM_WGAN-v1" not in lit
        browser.shot("lineage-clicked")
        browser.click("score_responses · DPO-v1", tag="a")
        assert "tied_share" in browser.wait_for("mean_score")
        browser.driver.find_element(By.ID, "hide").click()
        assert sum(one.is_displayed() for one in boxes) < 30
        browser.shot("lineage-without-evaluation")
        assert browser.driver.get_log("browser") == []
        assert browser.driver.current_url == page.as_uri()


def test_the_page_without_script_still_has_its_links(
    page: Path, untouched: Shell, chromium: str, tmp_path: Path
) -> None:
    page.write_text(re.sub(r"<script>.*</script>", "", page.read_text(), flags=re.S))
    with browse(chromium, tmp_path) as browser:
        browser.open(page.as_uri())
        assert f"made {len(untouched.finished_keys())}" in browser.text
        browser.click("update_policy · SFT", tag="a")
        assert "learning_rate" not in browser.text and "was used for" in browser.text
        assert "#d" in browser.driver.current_url


def test_ctrl_click_opens_the_page_in_mlflow(
    untouched: Shell, chromium: str, tmp_path: Path
) -> None:
    key = _key(untouched, "update_policy", "SFT")
    path = write_lineage(untouched.home, key, tmp_path)
    other = tmp_path / "mlflow.html"
    other.write_text("<title>the run</title>")
    path.write_text(path.read_text().replace(f"sparring:stage/{key}", other.as_uri()))
    with browse(chromium, tmp_path) as browser:
        browser.open(path.as_uri())
        box = browser.driver.find_element(By.CSS_SELECTOR, ".node.focus text")
        keys = ActionChains(browser.driver)
        keys.key_down("\ue009").click(box).key_up("\ue009").perform()
        browser.until(lambda: len(browser.driver.window_handles) == 2, 10, lambda: "one window")
        browser.driver.switch_to.window(browser.driver.window_handles[1])
        browser.until(lambda: browser.driver.title == "the run", 10, lambda: browser.driver.title)


def test_a_copied_page_needs_nothing_else(page: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "page.html"
    moved.parent.mkdir()
    shutil.move(page, moved)
    assert "sparring:" not in moved.read_text(), "no link that leads nowhere"
