"""Whose report it is, in all three files, and nothing of it live."""

from __future__ import annotations

import json
from pathlib import Path

from tasks.evaluation.report.document import Report, write_report
from tasks.evaluation.report.report_identity import (
    Identity,
    identify_html,
    identify_json,
    identify_markdown,
)

EVIL = "<script>alert(1)</script> *x*"
IDENTITY = Identity(
    "apo-1",
    {"Run": "apo-1", "Config digest": EVIL},
    {"MLflow": 'http://host:1/#/runs/1"><b>', "Prefect": ""},
)


def test_all_three_files_say_whose_they_are(tmp_path: Path) -> None:
    write_report(Report("APO", headline="APO wins"), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    html = identify_html((tmp_path / "report.html").read_text(), IDENTITY)
    assert "<title>APO · apo-1</title>" in html and "<dt>Run</dt><dd>apo-1</dd>" in html
    assert html.index("</h1>") < html.index("apo-1</dd>") < html.index("APO wins")
    assert "<script" not in html and "&lt;script&gt;" in html
    assert '<a href="http://host:1/#/runs/1&quot;&gt;&lt;b&gt;">' in html
    assert "<dt>Prefect</dt><dd>`sparring up` starts what shows it</dd>" in html
    text = identify_markdown((tmp_path / "report.md").read_text(), IDENTITY)
    assert text.startswith("# APO\n\n- Run: apo-1\n- Config digest: &lt;script")
    assert "<script" not in text and text.index("- Prefect: `sparring up`") < text.index("APO wins")
    plain = identify_json(json.loads((tmp_path / "report.json").read_text()), IDENTITY)
    assert plain["identity"]["facts"]["Run"] == "apo-1" and plain["title"] == "APO"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_title_in_html_does_not_take_the_place_of_the_heading(tmp_path: Path) -> None:
    write_report(Report("</h1></title>", headline="APO wins"), tmp_path)
    html = identify_html((tmp_path / "report.html").read_text(), IDENTITY)
    assert html.count('<dl class="identity">') == 1
    assert html.index("&lt;/h1&gt;") < html.index('<dl class="identity">')
