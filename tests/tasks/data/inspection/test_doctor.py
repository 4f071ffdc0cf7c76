"""The report about a data set: every figure on files made for it, and on real ones."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from tasks.data.cleaning import Cleaner
from tasks.data.inspection.doctor import Inspection, inspect_data
from tasks.data.sources.config import SourceConfig
from tasks.data.sources.reader import read_source
from tasks.settings.errors import ConfigError


def write(path: Path, *rows: object) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def kwise(text: str, *replies: str, scores: list[float] | None = None) -> dict:
    if scores is None:
        scores = [float(-k) for k in range(len(replies))]
    return {"prompt": text, "completions": list(replies), "scores": scores}


def test_statistics_of_one_file(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        kwise("p", "long one", "short"),
        kwise("p", "long one", "short"),
        kwise("p", "a", "longer", "b"),
        kwise("q", "same", " same "),
        kwise("r", "a", "b", scores=[2.0, 2.0]),
        kwise("s", "", "b"),
        '{"prompt": NaN}',
    )
    (report,) = inspect_data([path]).files
    assert report.format == "kwise"
    assert (report.groups, report.prompts, report.bad_records) == (6, 4, 1)
    assert report.bad_examples == (f"{path}:7: NaN is not a JSON number",)
    assert report.dropped == {"duplicate": 1, "identical": 1, "tied": 1, "empty": 1}
    assert report.responses_per_prompt == {2: 5, 3: 1}
    # Of the five with an order the best is longer in the first two; two are equally long.
    assert report.chosen_longer == 0.6
    assert (report.prompt_chars.mean, report.prompt_chars.longest) == (1.0, 1)
    assert report.response_chars.longest == 8
    assert report.tokens is None


def test_a_report_and_a_run_agree_on_what_is_dropped(tmp_path: Path) -> None:
    """Blank prompts and answers too; what has one answer compares nothing among pairs."""
    rows = [
        kwise("p", "a", "b"), kwise("   ", "a", "b"), kwise("q", " \n", "b"), kwise("r", "a", "a "),
        kwise("p", " a ", "b"), kwise("s", "a", "b", scores=[1, 1]), kwise("t", "a", "", "b"),
        {"prompt": "u", "completion": "a"}, {"prompt": "v"},
    ]  # fmt: skip
    path = write(tmp_path / "a.jsonl", *rows)
    (report,) = inspect_data([path]).files
    cleaner = Cleaner(needs=2)
    kept = list(cleaner.clean(read_source(SourceConfig(path=str(path)), lambda bad: None)))
    assert report.dropped == dict(cleaner.dropped)
    assert report.groups - sum(report.dropped.values()) == len(kept) == 2


def test_a_file_of_demonstrations_or_prompts_drops_what_repeats_or_is_blank(tmp_path: Path) -> None:
    answered = [{"prompt": text, "completion": "a"} for text in ("p", "p", "q", " ")]
    (report,) = inspect_data([write(tmp_path / "a.jsonl", *answered)]).files
    assert report.dropped == {"duplicate": 1, "empty": 1}
    (report,) = inspect_data([write(tmp_path / "b.jsonl", {"prompt": "p"}, {"prompt": " "})]).files
    assert report.dropped == {"empty": 1}


def test_limits_may_be_chosen_after_reading(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", kwise("p", "aaaa", "b"), "broken")
    found = Inspection([path], lambda text: list(text.encode()))
    assert found.report().files[0].tokens.truncated_responses is None
    limits = SimpleNamespace(max_prompt_tokens=2, max_response_tokens=3)
    report = found.report(limits, max_bad_share=0.0)
    assert report.files[0].tokens.truncated_responses == 0.5
    assert not report.is_usable and found.report().is_usable


def test_overlap_between_files(tmp_path: Path) -> None:
    follow_up = "\n\nHuman: p\n\nAssistant: x\n\nHuman: y\n\nAssistant:"
    one = write(tmp_path / "a.jsonl", kwise("p", "a", "b"), kwise("q", "a", "b"))
    other = write(tmp_path / "b.jsonl", kwise(follow_up, "a", "b"), kwise(" q ", "c", "d"))
    third = write(tmp_path / "c.jsonl", kwise("z", "a", "b"))
    overlaps = inspect_data([one, other, third]).overlaps
    assert [(o.one[-7:], o.other[-7:], o.first_turns, o.prompts) for o in overlaps] == [
        ("a.jsonl", "b.jsonl", 2, 1),
        ("a.jsonl", "c.jsonl", 0, 0),
        ("b.jsonl", "c.jsonl", 0, 0),
    ]


def test_tokens_json_and_table(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", kwise("p", "aaaa", "b"), "broken")
    limits = SimpleNamespace(max_prompt_tokens=2, max_response_tokens=3)
    report = inspect_data([path, path], limits, lambda text: list(text.encode()))
    assert report.files[0].tokens.truncated_responses == 0.5
    tree = json.loads(json.dumps(report.to_json()))
    assert tree["files"][0]["responses_per_prompt"] == {"2": 1}
    assert tree["files"][0]["tokens"]["truncated_prompts"] == 1.0
    assert tree["overlaps"][0]["prompts"] == 1
    rows = report.rows()
    assert rows[0] == ("", str(path), str(path))
    assert {len(row) for row in rows} == {3}
    assert ("unreadable", "1", "1") in rows
    assert ("responses over the limit", "50.0%", "50.0%") in rows


def test_a_source_with_its_own_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"query": "p", "good": "a", "bad": "b"})
    fields = {"prompt": "query", "chosen": "good", "rejected": "bad"}
    (report,) = inspect_data([SourceConfig(path=str(path), fields=fields)]).files
    assert (report.format, report.groups) == ("pairs", 1)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no data file"):
        inspect_data([tmp_path / "none.jsonl"])


def test_an_empty_file(tmp_path: Path) -> None:
    (report,) = inspect_data([write(tmp_path / "a.jsonl")]).files
    assert (report.format, report.groups, report.chosen_longer) == ("unknown", 0, None)


def test_real_pairs(real_data: Path) -> None:
    """The share of longer chosen replies lies between those known of helpful and harmless."""
    names = ("hh/pairs.train.jsonl.gz", "hh/pairs.dev.jsonl.gz")
    report = inspect_data([real_data / name for name in names])
    assert [file.groups for file in report.files] == [3647, 509]
    assert 0.452 < report.files[0].chosen_longer < 0.588
    assert report.overlaps[0].first_turns == 0
