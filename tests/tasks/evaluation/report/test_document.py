"""The report's three files agree, stand alone, and let no model output become markup."""

from __future__ import annotations

import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tasks.evaluation.metrics.calibration import calibration_report
from tasks.evaluation.report.document import Example, Plot, Report, Section, write_report
from tasks.evaluation.report.heat_map import HeatMap, ShownPair, ShownResponse, ShownToken
from tasks.evaluation.report.reliability_diagram import reliability_diagram
from tasks.evaluation.report.tables import Column, Table

EVIL = "</pre><script>alert(1)</script><img src=x onerror=alert(2)>\n```\n# fake heading"


def _report(folder: Path) -> Report:
    models = {"RM_Test": calibration_report([1.0], [0.0])}
    return Report(
        title="APO <run>",
        facts={"seed": "0", "flow": EVIL},
        findings=["APO wins.", EVIL],
        tables=[Table("table-2", "Table 2", (Column(EVIL), Column("s", ".1f")), ((EVIL, 0.25),))],
        plots=[Plot("Figure 5", reliability_diagram(models, folder, name="figure-5"), "by epoch")],
        examples=[Example(EVIL, {"start": "hello", EVIL: EVIL})] * 8,
        numbers={"ece": 0.5},
    )


class _Tags(HTMLParser):
    """Collects what a browser would see: tags, attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: dict[str, list[str]] = {}
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, []).append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html_is_inert_and_stands_alone(tmp_path: Path) -> None:
    write_report(_report(tmp_path), tmp_path)
    page = _Tags()
    page.feed((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert not [name for name in page.attributes if name.startswith("on")]
    assert page.tags.count("img") == 1
    assert all(src.startswith("data:image/svg+xml;base64,") for src in page.attributes["src"])
    assert "href" not in page.attributes
    assert page.text.count("<script>alert(1)</script>") >= 8
    assert "default-src 'none'" in page.attributes["content"][0]


def test_numbers_with_their_errors_do_not_break_in_the_middle(tmp_path: Path) -> None:
    columns = tuple(map(Column, ("name", "share", "count")))
    table = Table("one", "One", columns, (("a ± b name", "1.0 ± 0.5", 3),))
    write_report(Report("x", tables=[table]), tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert '<td class="e">1.0 ± 0.5</td><td class="n">3</td>' in page
    assert "td.n,td.e{white-space:nowrap" in page


def test_a_section_has_its_notes_tables_plots_and_heat_maps_together(tmp_path: Path) -> None:
    token = ShownToken(EVIL, -1.0, 0.5)
    pairs = [ShownPair(EVIL, [ShownResponse("Better", 0.5, 0.1, [token])])]
    plot = _report(tmp_path).plots[0]
    table = Table("inner", "Inner", (Column("s", ".1f"),), ((0.25,),))
    section = Section("Tokens", [EVIL], [table], [plot], [HeatMap("Map", pairs, "map.html")])
    paths = write_report(Report("x", sections=[section]), tmp_path)
    assert tmp_path / "inner.csv" in paths
    kept = json.loads((tmp_path / "report.json").read_text())
    assert kept["sections"] == [
        {"title": "Tokens", "notes": [EVIL], "heat_maps": {"Map": "map.html"}}
    ]
    assert list(kept["tables"]) == ["inner"] and len(kept["plots"]) == 1
    page = _Tags()
    page.feed((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "script" not in page.tags and page.attributes["href"] == ["map.html"]
    assert page.tags.count("img") == 1 and any(EVIL in one for one in page.attributes["data-v"])
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "## Tokens" in text and "- [Map](map.html)" in text and "<script" not in text


def test_markdown_keeps_outputs_inside_their_fences(tmp_path: Path) -> None:
    write_report(_report(tmp_path), tmp_path)
    fence, outside = None, []
    for line in (tmp_path / "report.md").read_text(encoding="utf-8").splitlines():
        if fence is None and line.startswith("```"):
            fence = line.removesuffix("text")
        elif line == fence:
            fence = None
        elif fence is None:
            outside.append(line)
    assert fence is None
    prose = "\n".join(outside)
    assert "<" not in prose and "\n# fake" not in prose
    assert prose.count("### Prompt") == 8
    assert "![Figure 5](figure-5.png)" in prose


def test_json_holds_the_numbers(tmp_path: Path) -> None:
    paths = write_report(_report(tmp_path), tmp_path)
    names = [path.name for path in paths]
    assert names == ["report.md", "report.json", "report.html", "table-2.csv"]
    plain = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert plain["tables"]["table-2"]["rows"] == [[EVIL, 0.25]]
    assert plain["numbers"] == {"ece": 0.5}
    assert plain["plots"][0]["files"] == ["figure-5.png", "figure-5.svg", "figure-5.csv"]
    assert plain["examples"][0] == {"prompt": EVIL, "outputs": {"start": "hello", EVIL: EVIL}}


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        write_report(_report(folder), folder)
    first, second = ({p.name: p.read_bytes() for p in folder.iterdir()} for folder in folders)
    assert first == second


def test_a_number_that_is_none_stops_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_report(Report("r", numbers={"x": float("nan")}), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_report_is_written(tmp_path: Path) -> None:
    write_report(Report("Nothing yet"), tmp_path)
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == "# Nothing yet\n"


def test_reports_and_tables_stay_light() -> None:
    """Neither torch nor matplotlib nor numpy is imported to write tables and a report."""
    code = (
        "import sys, tasks.evaluation.report.document, tasks.evaluation.apo.paper_tables; "
        "print([n for n in ('torch', 'matplotlib', 'numpy', 'mlflow') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
