"""The report of an AVA run on made-up evaluations whose answers are known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import ValidationError

from tasks.data.files import write_groups
from tasks.data.groups import Group
from tasks.evaluation.ava.config import AvaReportConfig
from tasks.evaluation.ava.report import assemble_ava_report
from tasks.evaluation.ava.token_rewards import token_section
from tasks.settings.log import NullLog
from tasks.storage.files import read_json, write_json
from tests.servers.browser import browse
from tests.tasks.evaluation.ava.evaluations import (
    START,
    diagnosed,
    entry,
    evaluation,
    measured,
    reward,
)

BAD = '"><script>alert(1)</script>'
POLICIES = [
    START,
    entry("PPO w/ AVA-p", "ppo", "ava_p", start_proxy=1.0),
    entry("BoN w/ AVA-p", "best_of_n", "ava_p", responses=4, start_proxy=1.0),
    entry("BoN w/ Bradley-Terry", "best_of_n", "bradley_terry", responses=4, start_proxy=0.0),
]
EVALUATIONS = {
    "start": evaluation([0, 0, 0, 0], "abcd", kl=0.0),
    "PPO w/ AVA-p s0": evaluation([-1, -1, -1, -1.1], "wxyz", kl=2.0, own=5.0),
    "BoN w/ AVA-p s0": evaluation([1, 1, 1, 1], "ijkl", own=3.0),
    "BoN w/ Bradley-Terry s0": evaluation([0, 0, 0, 0], "abcd", own=2.0),
}
REWARDS = [reward("AVA-p", "ava_p"), reward("Bradley-Terry", "bradley_terry")]
MODELS = {
    "RM_Test": measured([1.0] * 10, 0.9, 0.9),
    "AVA-p s0": measured([1.0] * 10, 1.0, 0.9),
    "Bradley-Terry s0": measured([1.0, -1.0] * 5, 0.5, 0.5),
}


def start_scores(folder: Path) -> dict[str, Path]:
    """The start's samples as the oracle and two reward models score them."""
    rows = {"oracle": (0.0, 1.0), "AVA-p s0": (1.0, 3.0), "Bradley-Terry s0": (3.0, 1.0)}
    for name, row in rows.items():
        groups = [Group((), ("a", "b", "c", "d"), row * 2, id=key) for key in "pqrs"]
        write_groups(folder / "start" / name, groups)
    return {name: folder / "start" / name for name in rows}


def written(
    folder: Path, policies: Mapping[str, Any] = EVALUATIONS, **told: Any
) -> tuple[Any, dict[str, float], str]:
    """Return report.json, the headlines and report.md of a run."""
    paths = {}
    for name, found in {**policies, **MODELS}.items():
        paths[name] = folder / name.replace("/", "_")
        paths[name].mkdir()
        write_json(paths[name] / "evaluation.json", found)
    (folder / "examined").mkdir()
    write_json(folder / "examined" / "examination.json", {"sentence": "read 10 records"})
    looked = folder / "looked"
    looked.mkdir()
    (looked / "heat-map.html").write_text("<p>map</p>")
    write_json(looked / "report.json", diagnosed(text=BAD))
    output = folder / "output"
    output.mkdir()
    settings = {"entries": POLICIES, "rewards": REWARDS, "testers": ("RM_Test",), "examples": 2}
    config = AvaReportConfig(**({"judges": ("oracle", "RM_Test")} | settings | told))
    flat = assemble_ava_report(
        {name: paths[name] for name in policies},
        {name: paths[name] for name in MODELS},
        {"AVA-p s0": looked},
        start_scores(folder),
        folder / "examined",
        config,
        output,
        NullLog(),
    )
    return read_json(output / "report.json"), flat, (output / "report.md").read_text()


class Written(NamedTuple):
    """A report, read again."""

    folder: Path
    kept: Any
    flat: dict[str, float]
    text: str


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The report of everything."""
    folder = tmp_path_factory.mktemp("ava-report")
    return Written(folder / "output", *written(folder))


def test_a_hacked_reward_model_and_the_better_arm_are_named(whole: Written) -> None:
    kept, text = whole.kept, whole.text
    said = "\n".join(kept["findings"])
    assert kept["findings"][0] == "read 10 records"
    assert "accuracy of AVA-p against Bradley-Terry" in said
    assert "BoN w/ AVA-p against BoN w/ Bradley-Terry by oracle: wins 100.0%" in said
    assert "PPO w/ AVA-p: its reward model gives it +4.000 over the start, and oracle" in said
    assert "BoN w/ AVA-p: its reward model" not in said, "the judge gains as well"
    assert set(kept["tables"]) == {
        "summary", "accuracies", "table-2", "proxies", "token-rewards", "token-beginnings",
    }  # fmt: skip
    assert [plot["title"] for plot in kept["plots"]][0].startswith("Reward hacking")
    lines = (whole.folder / "reward-hacking.csv").read_text()
    assert "PPO w/ AVA-p,1,2.0" in lines and "BoN w/ Bradley-Terry,4," in lines
    assert kept["headline"].startswith("start wins by 1.025 oracle reward"), kept["headline"]
    assert kept["findings"][-1].startswith("not shown: how other seeds end; 5 of 5 arms")
    assert "ask &lt;b&gt;p" not in text and "ask <b>p</b>" in text, "in a fence, as it stands"


def test_the_proxy_is_laid_beside_the_judge(whole: Written) -> None:
    rows = {row[0]: row for row in whole.kept["tables"]["proxies"]["rows"]}
    assert rows["PPO w/ AVA-p"][2:] == ["2.000 ± 0.100", "+4.000 ± 0.000", "-1.025 ± 0.025"]
    assert rows["BoN w/ Bradley-Terry"][3] == "+2.000 ± 0.000"
    assert "start" not in rows


def test_rewards_of_tokens_are_a_section_with_examples(whole: Written) -> None:
    kept, text = whole.kept, whole.text
    (section,) = kept["sections"]
    assert section["title"] == "Rewards of tokens"
    (note,) = section["notes"]
    assert note.startswith("AVA-p: seeds whose rewards point at the tokens that the oracle")
    assert note.endswith("response: in 1 of 1 by x[j] and in 0 of 1 by x[j+1]")
    page = whole.folder / "heat-map-ava-p-s0.html"
    assert page.read_text() == "<p>map</p>" and f"]({page.name})" in text
    html = (whole.folder / "report.html").read_text(encoding="utf-8")
    assert f'<a href="{page.name}">' in html and "“stupid”: -1.250 · the oracle takes 1.00" in html
    assert "<script" not in html and html.count("&lt;script&gt;") >= 2
    assert "user: b?" in html and "user: c?" not in html, "two examples, the page has all"
    assert (whole.folder / "token-rewards-plot.svg").is_file()


@pytest.mark.real
def test_a_phone_shows_the_report_without_scrolling_sideways(
    chromium: str, whole: Written, tmp_path: Path
) -> None:
    """Its tables scroll by themselves, and a tapped token says its number at the bottom."""
    with browse(chromium, tmp_path, size=(500, 844)) as browser:
        browser.open((whole.folder / "report.html").as_uri())
        width = browser.driver.execute_script("return document.documentElement.scrollWidth")
        assert width <= browser.driver.execute_script("return window.innerWidth")
        browser.click("stupid", tag="span")
        shown = browser.driver.execute_script(
            "return getComputedStyle(document.activeElement, '::after').content"
        )
        assert "-1.250 · the oracle takes 1.00" in shown
        browser.shot("ava-report")


def test_the_numbers_of_token_rewards(tmp_path: Path) -> None:
    (tmp_path / "looked").mkdir()
    for name, found in {"a": diagnosed(0.3), "b": diagnosed(0.05)}.items():
        folder = tmp_path / name
        folder.mkdir()
        write_json(folder / "report.json", found)
        (folder / "heat-map.html").write_text("")
    entries = [reward("AVA-p", "ava_p", seed) for seed in (0, 1)]
    diagnoses = {entries[0].name: tmp_path / "a", entries[1].name: tmp_path / "b"}
    section = token_section(entries, diagnoses, tmp_path / "looked")
    assert section is not None and "in 1 of 2 by x[j] and" in section.notes[0]
    numbers, beginnings = section.tables
    assert numbers.rows[0] == (
        "AVA-p s0", 0.3, "-0.100 to +0.100", 0.05, "-0.100 to +0.100",
        0.8, "0.1 to 4", 50.0, 90.0, 25.0,
    )  # fmt: skip
    assert [column.name for column in numbers.columns[7:9]] == [
        "Within 1 σ (68.3 %)", "Within 2 σ (95.4 %)",
    ]  # fmt: skip
    assert beginnings.rows[0] == ("AVA-p s0", "50.0 ± 50.0", "100.0 ± 0.0")
    assert [one.title for one in section.heat_maps] == ["Rewards of tokens by AVA-p s0"]
    assert token_section(entries, {}, tmp_path) is None


def test_without_an_oracle_there_is_no_correlation(tmp_path: Path) -> None:
    write_json(tmp_path / "report.json", diagnosed(oracle=False))
    (tmp_path / "heat-map.html").write_text("")
    entry = reward("AVA-d", "ava_d")
    section = token_section([entry], {entry.name: tmp_path}, tmp_path)
    assert section is not None and not section.notes
    assert section.tables[0].columns[1].name == "Size of δ, median"


def test_headlines_are_flat(whole: Written) -> None:
    flat = whole.flat
    assert flat["AVA-p/accuracy_last"] == 1.0 and flat["AVA-p/accuracy_return"] == 0.9
    assert flat["PPO w/ AVA-p/kl"] == 2.0
    assert flat["BoN w/ AVA-p vs BoN w/ Bradley-Terry/lead"] == 1.0


def test_reward_models_alone_are_a_report_too(tmp_path: Path) -> None:
    kept = written(tmp_path, entries=[START])[0]
    assert list(kept["tables"]) == ["accuracies", "token-beginnings", "token-rewards"]
    assert "nothing to compare" in kept["headline"]


def by_number(right: list[float], texts: str) -> dict[str, Any]:
    """Return an evaluation of answers that come to the right number or do not."""
    found = evaluation(right, texts)
    for scores in (found["scores"], *(row["scores"] for row in found["per_prompt"].values())):
        scores["exact_match"] = scores.pop("oracle")
        del scores["RM_Test"]
    return found


def test_exact_match_decides_alone_and_is_a_column(tmp_path: Path) -> None:
    """Four prompts: 1, 3 and 2 right; AVA-d against SFT wins one and ties three."""
    afd = entry("DPO w/ AfD", "direct", "dpo", "afd")
    named = {"ava_d": "AVA-d on demonstrations", "sft": "SFT on demonstrations"}
    arms = [entry(line, "direct", name, "demonstrations") for name, line in named.items()]
    answers = {
        "start": by_number([1, 0, 0, 0], "abcd"),
        "AVA-d on demonstrations s0": by_number([1, 1, 1, 0], "efgh"),
        "SFT on demonstrations s0": by_number([1, 1, 0, 0], "efij"),
        "DPO w/ AfD s0": by_number([0, 0, 0, 0], "klmn"),
    }
    told = {"judges": ("exact_match",), "testers": (), "rewards": ()}
    kept, flat, _ = written(tmp_path, answers, entries=[START, *arms, afd], **told)
    assert set(kept["tables"]) == {"summary", "table-5", "exact-match"}
    rows = {row[0]: row for row in kept["tables"]["exact-match"]["rows"]}
    assert rows["start"][3].startswith("25.0 (") and rows["start"][4] is None
    # Right on 3 of 4: s = 0.5, and 1.96 × 0.5 / √4 = 0.49; no share is above 1.
    assert rows["AVA-d on demonstrations"][3:] == ["75.0 (26.0 to 100.0)", "+50.0 (-6.6 to +106.6)"]
    met = {row[1]: row for row in kept["tables"]["table-5"]["rows"]}
    shares = [cell.partition(" ")[0] for cell in met["SFT on demonstrations"][3:6]]
    assert shares == ["25.0", "75.0", "0.0"] and set(met) == {"SFT on demonstrations", "DPO w/ AfD"}
    assert flat["AVA-d on demonstrations/exact_match"] == 0.75


def test_entries_have_names_of_their_own_and_one_start() -> None:
    twice = [START, *(entry("DPO", "direct", "dpo") for _ in range(2))]
    with pytest.raises(ValidationError, match="names of their own, got 'DPO s0' twice"):
        AvaReportConfig(entries=twice, judges=("oracle",))
    with pytest.raises(ValidationError, match="one entry of kind start, got 0"):
        AvaReportConfig(entries=twice[1:2], judges=("oracle",))
