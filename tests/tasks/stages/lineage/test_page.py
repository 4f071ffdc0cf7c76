"""The lineage page: one file, nothing from outside, no dead link, nothing hostile let through."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tasks.settings.errors import ConfigError
from tasks.stages.flow_run import open_run
from tasks.stages.lineage import reading
from tasks.stages.lineage.graph import Graph
from tasks.stages.lineage.nodes import Node, output_node
from tasks.stages.lineage.page import lineage_page
from tasks.stages.lineage.page_layout import NODE_HEIGHT, NODE_WIDTH, lanes, lay_out, layers
from tasks.stages.lineage.reading import lineage_graph
from tasks.stages.lineage.writing import write_lineage
from tasks.stages.manifest import InputRecord, Manifest, commit_manifest, list_manifests
from tasks.storage.files import read_json

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</title></style></script><svg/onload=alert(1)>",
    "'-alert(1)-'",
    "javascript:alert(1)",
    "{{constructor.constructor('alert(1)')()}}",
    "]]><!--",
    "\x1b[31mred\x07",
    "é\u202e\u0000 \ud7ff",
)


class _Elements(HTMLParser):
    """Collects every element with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def _manifest(stage: str, number: int, label: str = "", **inputs: tuple[str, int]) -> Manifest:
    records = {
        role: InputRecord(f"{key:032x}", stage_of, f"{key:064x}" if key < 900 else "")
        for role, (stage_of, key) in inputs.items()
    }
    return Manifest(
        f"{number:064x}", stage, 1, {"a": {"b": 1}}, 0, records, f"{number:032x}", (),
        {"loss": 0.5}, label, {}, {"run": "toy-1", "external": {"file": "notes.txt"}},
    )  # fmt: skip


def _graph(*manifests: Manifest) -> Graph:
    graph = Graph()
    for manifest in manifests:
        graph.add_output(output_node(manifest, "here"), {})
    return graph


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_stay_text(text: str) -> None:
    manifest = _manifest("shard", 1, text, file=("external", 900))
    manifest.inputs[text] = InputRecord("f" * 32, "external", "", text)
    manifest.metrics[text] = 1.0
    manifest.config[text] = text
    manifest.provenance.update(run=text, external={"file": text, text: text})
    page = lineage_page(_graph(manifest), f"shard/{manifest.key}")
    plain = lineage_page(_graph(_manifest("shard", 1, "label")), f"shard/{manifest.key}")
    elements = _Elements(page).found
    assert {tag for tag, _ in elements} <= {tag for tag, _ in _Elements(plain).found} | {"path"}
    assert sum(tag == "script" for tag, _ in elements) == 1
    assert not [name for _, attributes in elements for name in attributes if name.startswith("on")]
    links = {attributes["href"] for tag, attributes in elements if tag == "a"}
    assert all(re.match(r"#d|sparring:(stage|run)/", link or "") for link in links), links


def test_the_page_needs_nothing_and_allows_only_its_own_script(toy: Any, home: Any) -> None:
    toy.flow()
    graph = lineage_graph(home)
    page = lineage_page(graph, next(iter(graph.nodes)))
    assert not re.search(r"(https?:)?//[\w.]+\.\w+|@import|url\(|<link|<iframe|\bsrc=", page)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy and "default-src 'none'" in unescape(policy[1])
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in unescape(policy[1])
    assert "eval(" not in script and "innerHTML" not in script and "Storage" not in script


def test_every_link_leads_somewhere(toy: Any, home: Any) -> None:
    joined = toy.flow()
    graph = lineage_graph(home)
    elements = _Elements(lineage_page(graph, f"join/{joined.key}")).found
    ids = {attributes["id"] for _, attributes in elements if attributes.get("id")}
    links = [str(attributes["href"]) for tag, attributes in elements if tag == "a"]
    assert {link[1:] for link in links if link.startswith("#")} <= ids
    assert {link for link in links if not link.startswith("#")} == {
        f"sparring:stage/{node.key}" for node in graph.nodes.values() if node.kind == "artifact"
    }
    assert "sparring-hint" in ids
    named = [attributes for _, attributes in elements if attributes.get("data-from")]
    assert {f"g{one['data-from']}" for one in named} <= ids


def test_without_mlflow_no_link_leaves_the_page(toy: Any, home: Any) -> None:
    joined = toy.flow()
    page = lineage_page(lineage_graph(home), f"join/{joined.key}", link=lambda node: None)
    assert "sparring:" not in page and "Ctrl-click (⌘-click) it" not in page


def _game(epochs: int) -> Graph:
    """Reward models and policies that take turns, each policy sampled, scored and evaluated."""
    made = [
        _manifest("prepare_data", 1),
        _manifest("update_policy", 2, "SFT", data=("prepare_data", 1)),
    ]
    policy, number = 2, 3
    for epoch in range(epochs):
        samples, model, trained = number, number + 1, number + 2
        made += [
            _manifest("sample_responses", samples, policy=("update_policy", policy)),
            _manifest("update_reward_model", model, apo=("sample_responses", samples)),
            _manifest("update_policy", trained, f"v{epoch}", groups=("update_reward_model", model)),
            _manifest("sample_responses", number + 3, policy=("update_policy", trained)),
            _manifest("evaluate_policy", number + 4, scores=("sample_responses", number + 3)),
        ]
        policy, number = trained, number + 5
    return _graph(*made)


def test_the_layout_has_no_overlap_and_goes_down() -> None:
    graph = _game(epochs=15)
    layout = lay_out(graph)
    assert set(layout.spots) == set(graph.nodes)
    spots = list(layout.spots.values())
    for index, one in enumerate(spots):
        assert 0 <= one.x <= layout.width - NODE_WIDTH and one.y + NODE_HEIGHT <= layout.height
        for other in spots[index + 1 :]:
            assert abs(one.x - other.x) >= NODE_WIDTH or abs(one.y - other.y) >= NODE_HEIGHT
    for edge in graph.edges:
        assert layout.spots[edge.source].y < layout.spots[edge.target].y


def test_samples_that_only_measure_stand_with_the_evaluations() -> None:
    graph = _game(epochs=1)
    column = {graph.nodes[name].title: lane for name, lane in lanes(graph).items()}
    assert column["evaluate_policy"] == 5
    lane = lanes(graph)
    training, measuring = f"sample_responses/{3:064x}", f"sample_responses/{6:064x}"
    assert (lane[training], lane[measuring]) == (2, 5)
    assert layers(graph)[measuring] == layers(graph)[f"update_policy/{5:064x}"] + 1


def test_a_very_long_chain_needs_no_recursion() -> None:
    chain = [_manifest("shard", 1)]
    chain += [_manifest("shard", n, before=("shard", n - 1)) for n in range(2, 850)]
    graph = _graph(*reversed(chain))
    assert max(layers(graph).values()) == 848
    assert lineage_page(graph, next(iter(graph.nodes)))


def test_a_node_that_is_gone_is_drawn(toy: Any) -> None:
    graph = _graph(_manifest("join", 2, item=("shard", 1)))
    page = lineage_page(graph, f"join/{2:064x}")
    assert 'class="node l4 gone"' in page and "only those who used it still know it" in page


def test_write_lineage_of_a_stage_and_of_a_run(toy: Any, home: Any, tmp_path: Path) -> None:
    with open_run("toy", config={}, config_text="", mlruns=tmp_path / "mlruns") as run:
        run.spool = None
        joined = toy.flow()
    first = next(one for one in list_manifests(home, "shard") if one.label == "first")
    page = write_lineage(home, first.key, tmp_path / "stage")
    text = page.read_text(encoding="utf-8")
    assert "shard · first" in text and "join" not in _names(page)
    assert f'href="sparring:run/{run.run_id}"' in text
    page = write_lineage(home, run.run_id, tmp_path / "run")
    assert _names(page) == {"shard · first", "shard · second", "join", "source.txt", run.run_id}
    assert json.loads(page.with_suffix(".json").read_text())["focus"] == f"run/{run.run_id}"
    assert joined.key in page.read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="no stage or run"):
        write_lineage(home, "nothing", tmp_path / "none")


def _names(page: Path) -> set[str]:
    return {node["title"] for node in json.loads(page.with_suffix(".json").read_text())["nodes"]}


def test_a_stage_and_a_run_spool_their_pages(toy: Any, home: Any, tmp_path: Path) -> None:
    told = []
    with open_run("toy", config={}, config_text="", mlruns=tmp_path / "mlruns") as run:
        run.spool.files = lambda stage, paths, links=False: told.append((stage, paths, links))
        joined = toy.flow()
    pages = [(stage, links) for stage, (path,), links in told if path.name == "lineage.html"]
    assert len(pages) == 4 and pages[-2:] == [(joined.key, True), (None, True)]
    data = [(stage, links) for stage, (path,), links in told if path.name == "lineage.json"]
    assert len(data) == 4 and not any(links for _, links in data)


def test_a_page_after_every_stage_reads_no_manifest_twice(
    home: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = _game(epochs=15)
    for node in graph.nodes.values():
        commit_manifest(home, node.manifest)
    assert len(graph.nodes) == 77
    read: list[Path] = []
    monkeypatch.setattr(reading, "read_json", lambda path: read.append(path) or read_json(path))
    last = f"{2 + 5 * 15:064x}"
    first = write_lineage(home, last, tmp_path / "first").read_bytes()
    manifests = [path for path in read if home.manifests in path.parents]
    assert len(manifests) == len(set(manifests)) > 0
    read.clear()
    assert write_lineage(home, last, tmp_path / "second").read_bytes() == first
    assert not [path for path in read if home.manifests in path.parents]


def test_a_node_of_a_run_is_not_drawn_as_a_box() -> None:
    graph = _graph(_manifest("shard", 1))
    graph.add(Node("run/toy-1", "run", "toy-1"))
    page = lineage_page(graph, "run/toy-1")
    assert page.count('class="node') == 1 and '<section class="detail focus" id="dr0">' in page
