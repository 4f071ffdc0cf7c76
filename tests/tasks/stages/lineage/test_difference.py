"""Why two artifacts differ: the cause is named, and not what merely inherits it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.stages.artifact import external_artifact
from tasks.stages.flow_run import open_run
from tasks.stages.lineage.difference import (
    Cause,
    environment_changes,
    find_causes,
    matching_outputs,
)
from tasks.stages.lineage.graph import Graph
from tasks.stages.lineage.reading import lineage_graph
from tasks.stages.manifest import InputRecord, Manifest, commit_manifest, manifest_path


def _shard(toy: Any, *, seed: int = 1, **config: Any) -> Any:
    return toy.shard(external_artifact(toy.source), config=toy.config(**config), seed=seed)


def _causes(home: Any, one: Any, two: Any) -> list[Cause]:
    names = [f"{item.stage}/{item.key}" for item in (one, two)]
    return find_causes(lineage_graph(home), *names)


def _said(causes: list[Cause]) -> list[str]:
    return [f"{cause.title}: {change}" for cause in causes for change in cause.changes]


def test_a_config_value_below_is_the_cause_and_its_heirs_are_not(toy: Any, home: Any) -> None:
    one = toy.join([_shard(toy, shards=1), _shard(toy, seed=9)])
    two = toy.join([_shard(toy, shards=3), _shard(toy, seed=9)])
    (cause,) = _causes(home, one, two)
    assert _said([cause]) == ["shard: config.shards: 1 → 3"]
    assert cause.path == ("shards.0",)


def test_seed_and_config_are_both_named(toy: Any, home: Any) -> None:
    one, two = _shard(toy), _shard(toy, seed=2, shards=1)
    assert _said(_causes(home, one, two)) == [
        "shard: config.shards: 2 → 1",
        "shard: seed: 1 → 2",
    ]


def test_a_changed_file_is_named(toy: Any, home: Any) -> None:
    one = toy.join([_shard(toy)])
    toy.source.write_text("hello, changed")
    two = toy.join([_shard(toy)])
    (said,) = _said(_causes(home, one, two))
    assert said.startswith("source.txt: file source.txt: ")


def test_an_added_input_and_another_part_are_named(toy: Any, home: Any) -> None:
    first, second = _shard(toy), _shard(toy, seed=2)
    one, two = toy.join([first]), toy.join([first, second.part("00000")])
    assert _said(_causes(home, one, two)) == ["join: input shards.1: (none) → shard (00000)"]
    other = toy.join([first, second.part("00001")])
    assert _said(_causes(home, two, other)) == ["join: part of input shards.1: 00000 → 00001"]


def test_equal_content_made_otherwise_is_no_cause(toy: Any, home: Any) -> None:
    one, two = _shard(toy, seconds=0.0), _shard(toy, seconds=0.01)
    assert one.digest == two.digest and one.key != two.key
    assert toy.join([one]).key == toy.join([two]).key
    assert _causes(home, toy.join([one]), toy.join([two])) == []


def test_another_version_and_another_stage_are_named() -> None:
    graph = _graph(_manifest("shard", 1), _manifest("shard", 2, version=2), _manifest("join", 3))
    one, two, three = graph.nodes
    assert _said(find_causes(graph, one, two)) == ["shard: version: 1 → 2"]
    assert _said(find_causes(graph, one, three)) == ["shard: made by: shard → join"]


def test_one_key_with_two_contents_is_called_so() -> None:
    left = _manifest("join", 2, item=InputRecord("a" * 32, "shard", f"{1:064x}"))
    right = _manifest("join", 3, item=InputRecord("b" * 32, "shard", f"{1:064x}"))
    right.provenance["libraries"] = {"torch": "2.14"}
    graph = _graph(_manifest("shard", 1), left, right)
    made_twice, library = find_causes(graph, f"join/{left.key}", f"join/{right.key}")[0].changes
    assert "shard was made twice under one key with other content" in str(made_twice)
    assert str(library) == "library torch: 2.13 → 2.14"


def test_a_removed_ancestor_ends_the_search(toy: Any, home: Any) -> None:
    first, second = _shard(toy), _shard(toy, seed=2)
    one, two = toy.join([first]), toy.join([second])
    manifest_path(home, "shard", first.key).unlink()
    (said,) = _said(_causes(home, one, two))
    assert said == f"shard: key of shard: {first.key[:12]} (gone) → {second.key[:12]}"


def test_the_earliest_comes_first(toy: Any, home: Any) -> None:
    one = toy.join([toy.join([_shard(toy)])], external_artifact(toy.source))
    two = toy.join([toy.join([_shard(toy, seed=5)])])
    causes = _causes(home, one, two)
    assert [cause.title for cause in causes] == ["shard", "join"]
    assert causes[0].path == ("shards.0", "shards.0")


def test_environments_that_no_key_knows_of() -> None:
    left, right = _manifest("shard", 1), _manifest("shard", 2)
    right.provenance.update(git_commit="def", libraries={"torch": "2.13", "dvc": "3"}, code="2b")
    graph = _graph(left, right)
    said = [str(change) for change in environment_changes(*graph.nodes.values())]
    assert said == ["library dvc: (none) → 3", "git commit: abc → def", "code:  → 2b"]


def test_a_very_long_chain_is_walked(home: Any) -> None:
    for side in (0, 1):
        for number in range(400):
            before = {}
            if number:
                source = side * 1000 + number - 1
                before["item"] = InputRecord(f"{source:032x}", "shard", f"{source:064x}")
            commit_manifest(
                home, _manifest("shard", side * 1000 + number, seed=0 if number else side, **before)
            )
    causes = find_causes(lineage_graph(home), f"shard/{399:064x}", f"shard/{1399:064x}")
    assert _said(causes) == ["shard: seed: 0 → 1"] and len(causes[0].path) == 399


def test_outputs_of_two_runs_are_matched(toy: Any, home: Any, tmp_path: Path) -> None:
    names = []
    for shards in (1, 2):
        with open_run("toy", config={}, config_text="", mlruns=tmp_path / "mlruns") as run:
            run.spool = None
            toy.flow(shards=shards)
            names.append(f"run/{run.run_id}")
    graph = lineage_graph(home)
    pairs = matching_outputs(graph, *names)
    titles = [graph.nodes[one].title for one, _ in pairs]
    assert titles == ["join", "shard · second", "shard · first"]
    assert all(graph.nodes[one].title == graph.nodes[two].title for one, two in pairs)


def _manifest(
    stage: str, number: int, *, version: int = 1, seed: int = 0, **inputs: InputRecord
) -> Manifest:
    return Manifest(
        f"{number:064x}", stage, version, {}, seed, inputs, f"{number:032x}", (), {}, "", {},
        {"libraries": {"torch": "2.13"}, "git_commit": "abc"},
    )  # fmt: skip


def _graph(*manifests: Manifest) -> Graph:
    from tasks.stages.lineage.nodes import output_node

    graph = Graph()
    for manifest in manifests:
        graph.add_output(output_node(manifest, "here"), {})
    return graph
