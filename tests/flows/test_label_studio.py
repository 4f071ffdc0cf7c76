"""People answer in a real Label Studio, by its API and in a browser, and their answers are gold.

`make test-label-studio` makes its environment and runs this.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Keys
from selenium.webdriver.common.by import By

from tasks.ask_people import ask_people
from tasks.collect_gold import collect_gold
from tasks.data.files import read_groups, write_groups
from tasks.data.groups import Group, Message
from tasks.evaluation.judging.human_config import HumanEvaluationConfig
from tasks.gold.collection import GoldConfig
from tasks.gold.people.asking import SUBMISSIONS
from tasks.gold.people.batch import Batch, batch_names
from tasks.gold.people.config import LabelStudioConfig, PeopleConfig
from tasks.judge_by_people import judge_by_people
from tasks.settings.errors import ConfigError
from tasks.stages.artifact import Artifact, external_artifact
from tasks.stages.runs.context import RunContext, entered
from tasks.storage.home import Home
from tests.servers.browser import Browser, browse
from tests.servers.label_studio import PASSWORD, TOKEN, USER, LabelStudio, label_studio

pytestmark = [pytest.mark.slow, pytest.mark.real]
PROGRAM = Path(__file__).parents[2] / ".venv-label-studio/bin/label-studio"
ATTACK = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
QUERIES = [f"What is {ATTACK}?", "What is tea?", "Name a fruit.", "=1+1", "Line one\n\nline two"]
TYPED = "Tea is a drink; I typed this on the page."


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudio]:
    if not PROGRAM.exists():
        pytest.skip(f"needs {PROGRAM}: `make test-label-studio` makes it")
    began = time.monotonic()
    with label_studio(PROGRAM, tmp_path_factory.mktemp("label-studio")) as running:
        print(f"Label Studio answered after {time.monotonic() - began:.0f} s")
        yield running


@pytest.fixture
def place(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A folder to be asked in, with the token where the configuration says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LABEL_STUDIO_TOKEN", TOKEN)
    return home


def groups(name: str, texts: list[str], answers: list[str] | None = None) -> Artifact:
    made = [
        Group((Message("user", text),), (answers[n],) if answers else ())
        for n, text in enumerate(texts)
    ]
    write_groups(Path(name), made)
    return external_artifact(name)


def open_task(browser: Browser, served: LabelStudio, project: int, task: int) -> None:
    browser.open(f"{served.url}/projects/{project}/data?task={task}")
    if fields := browser.driver.find_elements(By.NAME, "email"):
        fields[0].send_keys(USER)
        browser.driver.find_element(By.NAME, "password").send_keys(PASSWORD, Keys.ENTER)
    browser.until(
        lambda: bool(browser.driver.find_elements(By.NAME, "comment")), 120, lambda: browser.text
    )


def press(browser: Browser, *keys: str) -> None:
    """Type into the answer's field, which the page may put anew at any moment."""

    def typed() -> bool:
        try:
            browser.driver.find_element(By.NAME, "response").send_keys(*keys)
        except StaleElementReferenceException:
            return False
        return True

    browser.until(typed, 30.0, lambda: "the field of the answer does not stay")


def submit(browser: Browser) -> None:
    browser.driver.find_element(By.CSS_SELECTOR, "button[name=submit]").click()
    browser.until(
        lambda: (
            bool(browser.driver.find_elements(By.CSS_SELECTOR, "button[name=update]"))
            or "Update" in browser.text
        ),
        60,
        lambda: browser.text,
    )


def test_answers_by_the_api_and_on_the_page_become_gold(
    served: LabelStudio, place: Home, chromium: str, tmp_path: Path
) -> None:
    people = PeopleConfig(label_studio=LabelStudioConfig(url=served.url))
    queries = groups("queries", QUERIES)

    def ask() -> tuple[Artifact, str]:
        run = RunContext(place, "run-1")
        with entered(run):
            found = ask_people(queries, config=people)
        return found, "".join(record.error for record in run.awaits)

    found, why = ask()
    (name,) = batch_names(place)
    project, tasks = served.tasks(name)
    assert found.is_pending and f"or answer at {served.url}/projects/{project}/data" in why
    assert {task["data"]["prompt"] for task in tasks} == set(QUERIES)

    by_prompt = {task["data"]["prompt"]: task["id"] for task in tasks}
    for number, query in enumerate(QUERIES):
        if query != QUERIES[1]:
            text = {"text": [f"Answer {number} by the API."]}
            first = served.annotate(by_prompt[query], "response", "textarea", text)
    # A person who thinks again edits the annotation: the later submission counts.
    part = {"from_name": "response", "to_name": "prompt", "type": "textarea"}
    again = {"result": [{**part, "value": {"text": ["Better."]}}]}
    ask()
    served.call("PATCH", f"/api/annotations/{first}/", json=again)
    _, why = ask()
    assert "1 answer is missing to 1 of 5 questions (4 came, 1 superseded)" in why

    with browse(chromium, tmp_path) as browser:
        open_task(browser, served, project, by_prompt[QUERIES[0]])
        assert ATTACK in browser.text, "shown as it is"
        assert browser.driver.title != "owned" and "owned" not in browser.driver.title
        browser.shot("label-studio-attack")
        open_task(browser, served, project, by_prompt[QUERIES[1]])
        press(browser, TYPED)
        browser.shot("label-studio-answer")
        press(browser, Keys.SHIFT, Keys.ENTER)
        submit(browser)
        browser.shot("label-studio-submitted")

    _, tasks = served.tasks(name)
    assert len(tasks) == len(QUERIES), "no task was made twice"
    found, why = ask()
    assert not why, why
    config = GoldConfig(provider="people", people=people, dev_share=0)
    with entered(RunContext(place, "run-1")):
        gold = collect_gold(queries, found.part("groups"), None, config=config)
    texts = {one.prompt[0].content: one.responses[0] for one in read_groups(gold.path / "train")}
    assert texts[QUERIES[1]] == TYPED and texts[QUERIES[4]] == "Better."
    lines = (found.path / SUBMISSIONS).read_text(encoding="utf-8").splitlines()
    used = [json.loads(line) for line in lines]
    assert {one["slot"].partition(",")[0] for one in used} == {"label-studio"}
    assert len(Batch.load(place, name).submissions()) == 6
    print(f"{len(used)} submissions of {len(texts)} gold answers")


def test_verdicts_on_the_page_are_undone_to_the_sides(
    served: LabelStudio, place: Home, chromium: str, tmp_path: Path
) -> None:
    config = HumanEvaluationConfig(
        quorum=1, question="instruction", label_studio=LabelStudioConfig(url=served.url)
    )
    prompts = ["What is tea?", "Name a fruit."]
    sides = [
        groups(side, prompts, [f"{side} {n} {ATTACK}" for n in range(2)])
        for side in ("ours", "theirs")
    ]
    gold = groups("gold", prompts, ["A drink.", "An apple."])

    def judged() -> Artifact:
        with entered(RunContext(place, "run-1")):
            return judge_by_people(*sides, gold, {}, {}, config=config, match="APO vs SFT", seed=0)

    assert judged().is_pending
    (name,) = batch_names(place)
    project, tasks = served.tasks(name)
    better = {task["id"]: "A" if task["data"]["a"].startswith("ours") else "B" for task in tasks}
    (first, second) = better
    served.annotate(first, "verdict", "choices", {"choices": [better[first]]})
    with browse(chromium, tmp_path) as browser:
        open_task(browser, served, project, second)
        assert "A reference answer" in browser.text and "five criteria" in browser.text
        box = browser.driver.find_element(By.CSS_SELECTOR, f"input[name={better[second]}]")
        browser.driver.execute_script("arguments[0].click()", box)
        browser.shot("label-studio-verdict")
        submit(browser)
    found = judged()
    assert (found.metrics["valid"], found.metrics["win"]) == (2, 1.0)


def test_a_wrong_token_stops_at_once_and_one_that_is_away_is_waited_for(
    served: LabelStudio, place: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = groups("queries", ["What is tea?"])
    away = PeopleConfig(label_studio=LabelStudioConfig(url="http://127.0.0.1:9"))
    run = RunContext(place, "run-1")
    with entered(run):
        ask_people(queries, config=away)
    assert "Label Studio does not answer" in run.awaits[0].error
    monkeypatch.setenv("LABEL_STUDIO_TOKEN", "wrong")
    here = PeopleConfig(label_studio=LabelStudioConfig(url=served.url), quorum=2)
    refusal = pytest.raises(ConfigError, match="refuses the token of LABEL_STUDIO_TOKEN .401.")
    with refusal as found, entered(RunContext(place, "run-2")):
        ask_people(queries, config=here)
    assert "wrong" not in str(found.value) and os.environ["LABEL_STUDIO_TOKEN"] == "wrong"
