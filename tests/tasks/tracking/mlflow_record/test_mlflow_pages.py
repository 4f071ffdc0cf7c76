"""What a person sees in MLflow's pages, in a real Chromium."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tasks.tracking.mlflow_record import MlflowRecord, tracking_place
from tasks.tracking.mlflow_record.links import link_page, logged_pages, run_address
from tasks.tracking.spool import Spool
from tests.databases import Databases
from tests.servers.browser import Browser, browse
from tests.servers.tracking_server import MlflowServer
from tests.tasks.tracking.mlflow_record import story
from tests.tasks.tracking.mlflow_record.story import TITLES, digest

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def shown(
    tmp_path_factory: pytest.TempPathFactory, databases: Databases
) -> Iterator[tuple[MlflowServer, dict[str, str]]]:
    """A server that the story was logged to, and the addresses of its runs by title."""
    folder = tmp_path_factory.mktemp("pages")
    databases.copy("mlflow", folder / "mlflow")
    with MlflowServer(folder / "mlflow") as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", server.url)
        story.spool_all(Spool(folder / "home" / "spool", "apo-1"), folder)
        MlflowRecord(tracking_place(folder / "mlruns")).drain(folder / "home" / "spool")
        from mlflow.tracking import MlflowClient

        client = MlflowClient(server.url)
        experiment = client.get_experiment_by_name("apo").experiment_id
        runs = client.search_runs([experiment])
        addresses = {
            run.info.run_name: f"{server.url}/{run_address(experiment, run.info.run_id)}"
            for run in runs
        }
        pages = logged_pages(folder / "home/spool")
        page = story.lineage_page(folder).read_text()
        resolved = link_page(page, lambda kind, name: pages.get((kind, name)), "")
        assert addresses[TITLES["a"]].partition("/#")[2] in resolved
        yield server, addresses


def test_from_a_metric_to_all_it_rests_on(
    shown: tuple[MlflowServer, dict[str, str]], chromium: str, tmp_path: Path
) -> None:
    """Metric → model → the run that made it → its data, its maker, and who used it."""
    _, addresses = shown
    with browse(chromium, tmp_path, (1500, 1700)) as browser:
        browser.open(addresses[TITLES["e"]])
        text = browser.wait_for("human/accuracy")
        browser.shot("mlflow-metric")
        assert "Model training" in text and "c0ffee" in text
        assert f"prepare_data / test ({digest('a', 'test')})" in text
        # The model that the metric is about, with the data set of each of its metrics.
        browser.click(TITLES["c"], "a")
        browser.wait_for("About this logged model")
        text = browser.wait_for("gold/accuracy")
        browser.shot("mlflow-model")
        assert f"prepare_data / test (#{digest('a', 'test')})" in text
        assert f"prepare_data / gold (#{digest('a', 'gold')})" in text
        assert digest("c") in text and "/store/update_reward_model/c" in text
        assert "apo-reward-model" in text
        # The run that made it, what that read, and who used it.
        assert browser.links()[TITLES["c"]].startswith(addresses[TITLES["c"]].partition("?")[0])
        browser.click(TITLES["c"], "a")
        browser.wait_for("Logged models (2)")
        browser.click("Show more")
        text = browser.wait_for("Used by")
        browser.shot("mlflow-maker")
        assert f"preferences.0: {digest('a', 'train')} ← prepare_data" in text
        assert f"base: {digest('b')} ← initialise_policy" in text
        assert browser.links()[TITLES["e"]] == addresses[TITLES["e"]]
        _follow(browser, addresses[TITLES["b"]])
        browser.wait_for("corpora.0")
        browser.open(addresses["apo-1"])
        for result in ("APO-DPO-v1 leads", "policy/kl", TITLES["c"], "Logged models (2)"):
            browser.wait_for(result)
        browser.click("Show more")
        browser.wait_for("Stages that ran")
        assert browser.links()["Its page in Prefect"].endswith("/runs/flow-run/p1")
        browser.shot("mlflow-flow-run")


def test_registered_models(
    shown: tuple[MlflowServer, dict[str, str]], chromium: str, tmp_path: Path
) -> None:
    """A version leads to its run and its model, and has its alias."""
    server, _ = shown
    with browse(chromium, tmp_path, (1500, 1200)) as browser:
        browser.open(f"{server.url}/#/models/apo-policy/versions/2")
        text = browser.wait_for("candidate")
        browser.shot("mlflow-version")
        assert text.count(TITLES["d"]) == 2 and digest("d") in text  # source run, source model


@pytest.mark.slow
def test_lineage_page_inside_mlflow(
    shown: tuple[MlflowServer, dict[str, str]], chromium: str, tmp_path: Path
) -> None:
    """Ctrl-click in MLflow's sandboxed frame opens the stage's page; a plain one breaks nothing."""
    _, addresses = shown
    page, _, mode = addresses["apo-1"].partition("?")
    with browse(chromium, tmp_path) as browser:
        browser.open(f"{page}/artifacts/output/lineage.html?{mode}")
        _enter_frame(browser)
        driver, own = browser.driver, browser.driver.current_window_handle
        assert "Ctrl-click" in driver.find_element(By.ID, "sparring-hint").text
        assert driver.find_element(By.ID, "unknown").get_attribute("href") is None
        link = driver.find_element(By.ID, "c")
        link.click()
        time.sleep(1)
        assert driver.find_element(By.TAG_NAME, "h1").text == "Lineage"
        ActionChains(driver).key_down(Keys.CONTROL).click(link).key_up(Keys.CONTROL).perform()
        browser.until(lambda: len(driver.window_handles) == 2, 20, lambda: "no new tab")
        driver.switch_to.default_content()
        browser.shot("mlflow-lineage")
        driver.switch_to.window(next(name for name in driver.window_handles if name != own))
        assert driver.current_url == addresses[TITLES["c"]]
        browser.wait_for("Logged models (2)")
        browser.shot("mlflow-lineage-clicked")


def _follow(browser: Browser, address: str) -> None:
    """Click the page's link to an address, in whichever tab it opens."""
    driver, part = browser.driver, address.partition("#")[2]
    before = set(driver.window_handles)
    driver.find_element(By.CSS_SELECTOR, f"a[href$='{part}']").click()
    time.sleep(1)
    for name in set(driver.window_handles) - before:
        driver.switch_to.window(name)


def _enter_frame(browser: Browser) -> None:
    """Wait for MLflow's frame with the page, and go into it."""
    driver = browser.driver

    def entered() -> bool:
        driver.switch_to.default_content()
        for frame in driver.find_elements(By.TAG_NAME, "iframe"):
            driver.switch_to.frame(frame)
            if driver.find_elements(By.ID, "sparring-hint"):
                return True
            driver.switch_to.default_content()
        return False

    browser.until(entered, 60, lambda: browser.text)
