"""The report of a whole run, from files written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.evaluation.apo.report import assemble_apo_report, examples, game_states
from tasks.evaluation.report.report_identity import Identity, identify_html
from tasks.settings.log import NullLog
from tests.servers.browser import browse


class Notes(NullLog):
    """Keeps the sentences."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def assemble(run: Any, folder: Path) -> tuple[dict[str, float], Path, list[str]]:
    paths, output, log = run.save(folder), folder / "output", Notes()
    output.mkdir()
    figures = assemble_apo_report(**paths, config=run.config, output=output, log=log)
    return figures, output, log.said


def test_every_table_and_plot_of_the_paper_is_there(apo_run: Any, tmp_path: Path) -> None:
    figures, output, said = assemble(apo_run, tmp_path)
    report = json.loads((output / "report.json").read_text())
    tables = "summary table-1 table-2 table-3 table-4 length matches policies game".split()
    assert sorted(report["tables"]) == sorted(tables)
    markdown, page = (output / "report.md").read_text(), (output / "report.html").read_text()
    for key in tables:
        assert (output / f"{key}.csv").is_file()
        assert report["tables"][key]["title"] in page
    for number in (1, 2, 3, 4):
        assert f"Table {number}: " in markdown
    for plot in ("figure-5", "game"):
        assert {(output / f"{plot}.{kind}").is_file() for kind in ("png", "svg", "csv")} == {True}
        assert f"({plot}.png)" in markdown
    # What is lost of the data was said when the data was prepared.
    assert ["data: all of it", *said] == report["findings"]
    assert report["headline"].startswith("APO-RJS-v1 wins by 0.300 RM_Test reward")
    assert report["headline"] in page and f"**{report['headline']}**" in markdown
    assert figures["APO-RJS-v1/score/RM_Test"] == 1.8
    assert figures["APO-RJS-v1/gap_closed"] == 0.25
    assert figures["RM_APO-v1/test_accuracy"] == 0.72
    assert "start/gap_closed" not in figures


def test_nothing_a_model_wrote_is_live(apo_run: Any, tmp_path: Path) -> None:
    _, output, _ = assemble(apo_run, tmp_path)
    page, markdown = (output / "report.html").read_text(), (output / "report.md").read_text()
    assert "<script" not in page and "<b>ask" not in page
    assert "&lt;script&gt;APO-RJS-v1 p&lt;/script&gt;" in page
    assert "&lt;b&gt;ask p&lt;/b&gt;" in page
    before = markdown.split("<script>APO-RJS-v1 p")[0]
    assert before.endswith("```text\n")


def test_names_of_compared_models_are_escaped_too(apo_run: Any, tmp_path: Path) -> None:
    entry = apo_run.config.entries[0].model_copy(update={"name": "<i>x</i>"})
    apo_run.policies["<i>x</i>"] = apo_run.policies["start"]
    entries = (*apo_run.config.entries, entry)
    apo_run.config = apo_run.config.model_copy(update={"entries": entries})
    paths = apo_run.save(tmp_path)
    output = tmp_path / "output"
    output.mkdir()
    assemble_apo_report(**paths, config=apo_run.config, output=output, log=NullLog())
    for kind in ("html", "md"):
        assert "<i>x" not in (output / f"report.{kind}").read_text()


def test_the_same_evaluations_give_the_same_bytes(apo_run: Any, tmp_path: Path) -> None:
    outputs = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        outputs.append(assemble(apo_run, tmp_path / name)[1])
    first, second = outputs
    assert sorted(path.name for path in first.iterdir()) == sorted(
        path.name for path in second.iterdir()
    )
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name


def test_figure_5_starts_every_side_at_the_start(apo_run: Any, tmp_path: Path) -> None:
    _, output, _ = assemble(apo_run, tmp_path)
    lines = (output / "figure-5.csv").read_text().splitlines()
    rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    found = {
        (row["method"], row["epoch"]): float(row["value"])
        for row in rows
        if row["scorer"] == "RM_Test"
    }
    assert found == {
        ("RJS", "0"): 1.0,
        ("RJS", "1"): 1.5,
        ("APO-RJS", "0"): 1.0,
        ("APO-RJS", "1"): 1.8,
    }


def test_a_baseline_alone_has_no_game(apo_run: Any, tmp_path: Path) -> None:
    apo_run.games = {}
    apo_run.config = apo_run.config.model_copy(update={"entries": apo_run.config.entries[:4]})
    del apo_run.policies["APO-RJS-v1"], apo_run.reward_models["RM_APO-v1"]
    _, output, _ = assemble(apo_run, tmp_path)
    report = json.loads((output / "report.json").read_text())
    assert "game" not in report["tables"] and not (output / "game.png").exists()
    assert "matches" not in report["tables"]


def test_each_player_is_weighed_by_its_own_reward_model(apo_run: Any) -> None:
    """ECE on dev is a tenth of the test accuracy: 0.070 for RM_Base, 0.072 for RM_APO-v1."""
    states = game_states(apo_run.games, apo_run.reward_models)
    drifts = {
        role: [(state.epoch, round(state.ece_drift, 6)) for state in found]
        for role, found in states.items()
    }
    assert drifts == {
        "base": [(1, 0.0), (2, 0.0)],
        "before": [(1, 0.0), (2, 0.002)],  # before epoch 1 the player is RM_Base
        "adapted": [(1, 0.002)],
    }
    (adapted,) = states["adapted"]
    assert adapted.gold_accuracy == 0.9
    assert adapted.human_accuracy == pytest.approx(0.62)


def test_it_begins_with_two_pictures_and_says_once_what_plus_minus_means(
    apo_run: Any, tmp_path: Path
) -> None:
    _, output, _ = assemble(apo_run, tmp_path)
    report = json.loads((output / "report.json").read_text())
    assert [one["title"] for one in report["pictures"]] == ["Score by epoch", "Reward by KL"]
    html = (output / "report.html").read_text()
    order = ["wins by", "Score by epoch", "Reward by KL", "± is one standard error", "Findings"]
    places = [html.index(words) for words in order]
    assert places == sorted(places) and html.count("is one standard error") == 1
    assert (output / "report.md").read_text().count("is one standard error") == 1
    lines = (output / "reward-by-kl.csv").read_text().splitlines()
    assert lines[1].startswith("RJS,0,0.0,1.0") and lines[4].startswith("APO-RJS,1,0.4,1.8")


@pytest.mark.real
def test_a_phone_shows_whose_report_it_is_and_scrolls_in_tables_alone(
    chromium: str, apo_run: Any, tmp_path: Path
) -> None:
    """390 pixels wide, with a run's id, a digest and words that cannot be broken."""
    for found in apo_run.policies.values():
        found["examples"][0] |= {"prompt": "unbroken" * 40, "response": "answer" * 60}
        found["examples"][0]["turns"] = [{"role": "system", "content": "kind" * 90}]
    _, output, _ = assemble(apo_run, tmp_path)
    run = "apo-20261130-065158-5e0d"
    pages = {"MLflow": f"http://127.0.0.1:5000/#/experiments/1/runs/{'a' * 32}", "Prefect": ""}
    identity = Identity(run, {"Run": run, "Config digest": "f" * 64}, pages)
    page = tmp_path / "shown.html"
    page.write_text(identify_html((output / "report.html").read_text(), identity))
    with browse(chromium, tmp_path) as browser:
        size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
        browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.open(page.as_uri())
        ask = browser.driver.execute_script
        assert ask("return window.innerWidth") == 390
        assert ask("return document.documentElement.scrollWidth") <= 390
        assert run in browser.text and "wins by" in browser.text
        top = "return document.querySelector(arguments[0]).getBoundingClientRect().top"
        assert ask(top, ".identity") < ask(top, ".headline") < ask(top, ".pictures")
        assert ask(top, ".headline") < 844, "who won is seen without scrolling"
        browser.shot("apo-report-phone")


def test_no_column_is_empty(apo_run: Any, tmp_path: Path) -> None:
    """No language model judged, so Table 2 has no column of the judge; no oracle, none of its."""
    _, output, _ = assemble(apo_run, tmp_path)
    report = json.loads((output / "report.json").read_text())
    columns = report["tables"]["table-2"]["columns"]
    assert "Win Rate (vs start), RM_Test" in columns and "Win Rate (vs start), judge" not in columns
    for key, table in report["tables"].items():
        for number, name in enumerate(table["columns"]):
            cells = {row[number] for row in table["rows"]}
            assert cells - {None, "–", "-", "no judge"}, (key, name)


def test_examples_have_their_turns_and_scores(apo_run: Any, tmp_path: Path) -> None:
    turns = [{"role": "system", "content": "Be <b>brief</b>."}, {"role": "user", "content": "Hi"}]
    for found in apo_run.policies.values():
        found["examples"][0]["turns"] = turns
    _, output, _ = assemble(apo_run, tmp_path)
    shown = json.loads((output / "report.json").read_text())["examples"][0]
    assert shown["turns"] == turns and shown["scores"]["start"] == {"RM_All": 2.0, "RM_Test": 1.0}
    html, text = ((output / f"report.{kind}").read_text() for kind in ("html", "md"))
    assert "Be &lt;b&gt;brief" in html and "<b>brief" not in html
    assert "RM_All +2.000, RM_Test +1.000" in html
    assert "**start**: RM_All +2.000, RM_Test +1.000" in text and "system:" in text


def test_examples_show_start_baseline_and_game(apo_run: Any) -> None:
    shown = examples(apo_run.config, apo_run.policies)
    assert [list(example.outputs) for example in shown] == [["start", "RJS-v1", "APO-RJS-v1"]] * 2
    assert shown[1].prompt == "<b>ask q</b>"
    assert shown[1].outputs["RJS-v1"] == "<script>RJS-v1 q</script>"
