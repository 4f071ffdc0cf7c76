"""Models, data sets and their links in a real MLflow server."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tasks.tracking.mlflow_record import MlflowRecord, TrackingPlace
from tasks.tracking.mlflow_record.links import run_address
from tasks.tracking.spool import Spool
from tests.tasks.tracking.mlflow_record import story
from tests.tasks.tracking.mlflow_record.checks import all_logged, check_story, client_of
from tests.tasks.tracking.mlflow_record.story import TITLES, digest, key

pytestmark = pytest.mark.real


def test_lineage_both_ways(server_place: TrackingPlace, tmp_path: Path) -> None:
    """From a metric to model, data sets and digests, and from a run to who made and who uses."""
    story.spool_all(Spool(tmp_path / "spool", "apo-1"), tmp_path)
    record = MlflowRecord(server_place)
    assert record.drain(tmp_path / "spool") == 6 * 3 + 8 + 2 + 5
    logged = check_story(server_place)
    assert record.drain(tmp_path / "spool") == 0
    runs, models, client = logged["runs"], logged["models"], client_of(server_place)
    data = {
        item.dataset.name: (item.dataset.digest, item.tags[0].value)
        for item in runs[TITLES["e"]].inputs.dataset_inputs
    }
    assert data == {
        "prepare_data / test": (digest("a", "test"), "pairs.human"),
        "prepare_data / gold": (digest("a", "gold"), "pairs.gold"),
    }
    points = {point.key: point for point in models[TITLES["c"]].metrics}
    measured = points["human/accuracy"]
    assert (measured.value, measured.dataset_name) == (0.75, "prepare_data / test")
    assert measured.dataset_digest == digest("a", "test")
    assert measured.run_id == runs[TITLES["e"]].info.run_id
    assert points["gold/accuracy"].dataset_name == "prepare_data / gold"
    assert points["loss"].run_id == runs[TITLES["c"]].info.run_id
    made = runs[TITLES["b"]]
    note = made.data.tags["mlflow.note.content"]
    assert f"corpora.0: `{digest('a', 'train')}` ← [prepare\\_data](#/experiments/" in note
    for user in ("c", "d"):
        assert runs[TITLES[user]].info.run_id in note.partition("**Used by**")[2]
    assert models[TITLES["b"]].model_id in note.partition("**Output**")[2]
    flow = runs["apo-1"].data.tags
    assert "http://127.0.0.1:4200/runs/flow-run/p1" in flow["mlflow.note.content"]
    version = client.get_model_version_by_alias("apo-policy", "candidate")
    assert version.tags["sparring.stage"] == key("d") and version.tags["sparring.run"] == "apo-1"
    assert version.tags["sparring.alias.candidate"] == '{"win_rate": 0.6}'
    assert version.run_id == runs[TITLES["d"]].info.run_id
    assert '"apo-policy"' in models[TITLES["d"]].tags["mlflow.modelVersions"]
    best = client.get_model_version_by_alias("apo-reward-model", "candidate")
    assert best.tags["sparring.digest"] == digest("c")
    page = Path(client.download_artifacts(runs["apo-1"].info.run_id, "output/lineage.html"))
    address = f"{server_place.uri}/{run_address(made.info.experiment_id, made.info.run_id)}"
    assert f'<a id="b" href="{address}">' in page.read_text()
    assert f'<a id="unknown" data-unknown="stage/{key("0")}">' in page.read_text()


def test_inputs_of_earlier_runs(server_place: TrackingPlace, tmp_path: Path) -> None:
    """Another home's process finds what was logged; the rest is noted at its first use."""
    spool = Spool(tmp_path / "other" / "spool", "apo-2")
    spool.run_started(flow="apo", experiment="apo", params={})
    spool.stage_skipped(key("d"), name=TITLES["d"], output=story.output("d"))
    unknown = {**story.inputs("f")[1], "key": key("9"), "role": "reference", "label": "epoch 9"}
    spool.stage_started(
        key("7"), name="sample_responses", attempt=1, params={}, tags={},
        inputs=[story.inputs("f")[1], unknown],
    )  # fmt: skip
    spool.stage_finished(key("7"), "FINISHED", tags={}, output={**story.output("a"), "digest": "d"})
    spool.run_finished("FINISHED", "completed")
    MlflowRecord(server_place).drain(tmp_path / "other" / "spool")
    logged = all_logged(server_place)
    models, runs = logged["models"], logged["runs"]
    noted = models["update_policy · epoch 9"]
    assert not noted.source_run_id and "first use" in noted.tags["sparring.noted"]
    assert noted.tags["sparring.digest"] == digest("d") and str(noted.status) == "READY"
    used = {item.model_id for item in runs["sample_responses"].inputs.model_inputs}
    assert used == {models[TITLES["d"]].model_id, noted.model_id}
    before = runs["apo-2"].data.tags["mlflow.note.content"].partition("**Done before**")[2]
    assert runs[TITLES["d"]].info.run_id in before
    maker = runs[TITLES["d"]].data.tags["mlflow.note.content"]
    assert runs["sample_responses"].info.run_id in maker.partition("**Used by**")[2]


def test_aliases_follow_the_latest_move(server_place: TrackingPlace, tmp_path: Path) -> None:
    """An older move that arrives late changes nothing; an unknown model is registered."""
    older = Spool(tmp_path / "late" / "spool", "promote-0")
    older.alias_moved("apo", "champion", {"policy": key("d")})
    time.sleep(0.01)
    spool = Spool(tmp_path / "spool", "promote-1")
    spool.alias_moved("apo", "champion", {"policy": key("b")}, {"why": "gate held"})
    spool.alias_moved("apo", "gone", {"policy": key("b")})
    spool.alias_moved("apo", "gone", {"policy": ""})
    spool.alias_moved("exo", "champion", {"policy": key("8")})
    record, client = MlflowRecord(server_place), client_of(server_place)
    record.drain(tmp_path / "spool")
    record.drain(tmp_path / "late" / "spool")
    champion = client.get_model_version_by_alias("apo-policy", "champion")
    assert champion.tags["sparring.stage"] == key("b")
    assert set(client.get_registered_model("apo-policy").aliases) == {"candidate", "champion"}
    assert client.get_model_version_by_alias("exo-policy", "champion").version
