"""The lineage graph: complete, tolerant of what is gone, and quick."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tasks.stages.artifact import external_artifact
from tasks.stages.flow_run import open_run
from tasks.stages.lineage.reading import ancestry, lineage_graph, remote_reader, run_graph
from tasks.stages.manifest import (
    InputRecord,
    Manifest,
    commit_manifest,
    list_manifests,
    manifest_path,
)
from tasks.storage.files import remove_tree
from tasks.storage.home import Home
from tasks.tracking.remote.opening import open_remote


def _run(toy: Any, tmp_path: Path, **values: int) -> Any:
    with open_run("toy", config={}, config_text="", mlruns=tmp_path / "mlruns") as run:
        run.spool = None
        result = toy.flow(**values)
    return run, result


def _id(artifact: Any) -> str:
    return f"{artifact.stage}/{artifact.key}"


def test_the_graph_has_every_output_file_and_run(toy: Any, home: Any, tmp_path: Path) -> None:
    run, joined = _run(toy, tmp_path)
    graph = lineage_graph(home)
    kinds = sorted(node.kind for node in graph.nodes.values())
    assert kinds == ["artifact"] * 3 + ["external", "run"]
    edges = {(graph.nodes[e.source].title, e.role, e.part) for e in graph.inputs(_id(joined))}
    assert edges == {("shard · first", "shards.0", ""), ("shard · second", "shards.1", "00000")}
    source = f"external/{external_artifact(toy.source).digest}"
    assert graph.nodes[source].title == "source.txt"
    up = graph.up(_id(joined))
    assert up[0] == _id(joined) and set(up) == {n for n in graph.nodes if not n.startswith("run/")}
    assert set(graph.down(source)) == set(up)
    assert [edge.role for edge in graph.calls[f"run/{run.run_id}"]] == ["made"] * 3
    assert graph.ends(graph.members(f"run/{run.run_id}")) == [_id(joined)]


def test_a_second_run_uses_what_the_first_made(toy: Any, home: Any, tmp_path: Path) -> None:
    first, joined = _run(toy, tmp_path)
    second, _ = _run(toy, tmp_path)
    callers = lineage_graph(home).callers[_id(joined)]
    assert {(edge.source, edge.role) for edge in callers} == {
        (f"run/{first.run_id}", "made"),
        (f"run/{second.run_id}", "used"),
    }


def test_what_was_removed_is_known_by_its_users(toy: Any, home: Any, tmp_path: Path) -> None:
    run, joined = _run(toy, tmp_path)
    whole = lineage_graph(home)
    shard = whole.inputs(_id(joined))[0].source
    stage, key = shard.split("/")
    remove_tree(whole.nodes[shard].manifest.folder(home))
    assert lineage_graph(home).nodes[shard].place == "removed"
    (home.root / "pushed" / "place").mkdir(parents=True)
    (home.root / "pushed" / "place" / key).touch()
    assert lineage_graph(home).nodes[shard].place == "remote"
    manifest_path(home, stage, key).unlink()
    graph = lineage_graph(home)
    gone = graph.nodes[shard]
    assert (gone.place, gone.title, gone.manifest) == ("gone", "shard · first", None)
    assert gone.digest == whole.nodes[shard].digest
    assert graph.to_json()["nodes"]
    assert run_graph(home, run.run_id).nodes[shard].place == "gone"
    assert ancestry(home, [("join", joined.key)]).nodes[shard].place == "gone"


def test_a_damaged_manifest_counts_as_gone(toy: Any, home: Any, tmp_path: Path) -> None:
    _, joined = _run(toy, tmp_path)
    path = manifest_path(home, "join", joined.key)
    path.chmod(0o644)
    path.write_text(path.read_text().replace('"digest"', '"digset"', 1))
    assert lineage_graph(home).nodes[_id(joined)].place == "gone"
    path.write_text("[]")
    assert lineage_graph(home).nodes[_id(joined)].manifest is None


def test_ancestry_is_the_part_of_the_graph_above(toy: Any, home: Any, tmp_path: Path) -> None:
    _, joined = _run(toy, tmp_path)
    whole = lineage_graph(home)
    part = ancestry(home, [("join", joined.key)])
    assert set(part.nodes) == set(whole.up(_id(joined)))
    assert part.edges == whole.around(part.nodes).edges


def _manifest(number: int, sources: dict[str, int]) -> Manifest:
    return Manifest(
        f"{number:064x}", "shard", 1, {"rate": 0.1}, 0,
        {
            role: InputRecord(f"{source:032x}", "shard", f"{source:064x}")
            for role, source in sources.items()
        },
        f"{number:032x}", (), {"loss": 1.0}, f"number {number}",
    )  # fmt: skip


def test_two_hundred_artifacts_take_well_under_a_second(home: Any) -> None:
    for number in range(200):
        inputs = {f"items.{back}": number - back for back in range(1, 5) if number >= back}
        commit_manifest(home, _manifest(number, inputs))
    began = time.perf_counter()
    graph = lineage_graph(home)
    up = graph.up(f"shard/{199:064x}")
    assert time.perf_counter() - began < 0.5
    assert len(up) == 200 and len(graph.edges) == 4 * 200 - 10


def test_a_loop_that_no_honest_manifest_has_ends(home: Any) -> None:
    commit_manifest(home, _manifest(1, {"item": 2}))
    commit_manifest(home, _manifest(2, {"item": 1}))
    graph = lineage_graph(home)
    assert len(graph.up(f"shard/{1:064x}")) == len(graph.down(f"shard/{1:064x}")) == 2


def test_only_the_nearest_of_very_many_are_read(home: Any) -> None:
    for number in range(30):
        commit_manifest(home, _manifest(number, {"before": number - 1} if number else {}))
    graph = ancestry(home, [("shard", f"{29:064x}")], most=10)
    assert len(graph.into) == 11 and graph.cut == {f"shard/{18:064x}"}
    assert len(list_manifests(home)) == 30


def test_reading_the_graph_imports_nothing_heavy(toy: Any, home: Any, tmp_path: Path) -> None:
    _run(toy, tmp_path)
    program = (
        "import sys; from tasks.storage.home import current_home;"
        "from tasks.stages.lineage.writing import write_lineage;"
        "from tasks.stages.lineage.reading import lineage_graph;"
        "graph = lineage_graph(current_home()); assert graph.nodes;"
        "print({'torch', 'mlflow', 'prefect', 'dvc', 'boto3'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert out.stdout == "set()\n", out.stderr


def test_what_other_machines_made_is_read_from_the_remote(
    toy: Any, home: Any, tmp_path: Path
) -> None:
    _, joined = _run(toy, tmp_path)
    remote = open_remote(str(tmp_path / "remote"))
    for manifest in list_manifests(home):
        text = manifest_path(home, manifest.stage, manifest.key).read_bytes()
        remote.put(f"manifests/{manifest.stage}/{manifest.key}.json", text)
    other = Home(tmp_path / "other").ensure()
    assert not lineage_graph(other).nodes
    reader = remote_reader(other, remote, seconds=-1.0)
    assert reader("join", joined.key) is None, "its time is over"
    near = ancestry(other, [("join", joined.key)], elsewhere=remote_reader(other, remote))
    graph = lineage_graph(other, remote)
    assert set(graph.up(_id(joined))) == set(near.nodes) == set(lineage_graph(home).up(_id(joined)))
    assert {n.place for n in graph.nodes.values() if n.kind == "artifact"} == {"remote"}
