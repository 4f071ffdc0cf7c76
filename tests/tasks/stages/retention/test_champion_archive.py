"""A champion goes to a store of another version, and back, with all that is known of its making."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.settings.errors import ConfigError
from tasks.stages.artifact import Artifact
from tasks.stages.lineage.reading import ancestry
from tasks.stages.manifest import load_manifest
from tasks.stages.retention.champion_archive import RECORD, export_champion, import_champion
from tasks.stages.retention.roots import Policy
from tasks.stages.runs.aliases import (
    CHAMPION,
    AliasRecord,
    alias_history,
    alias_models,
    current_alias,
    move_alias,
)
from tasks.stages.runs.references import reference_of
from tasks.storage.digests import digest_tree
from tasks.storage.errors import CorruptError
from tasks.storage.home import Home
from tests.tasks.stages.retention.housekeeping import sweep

LAYOUT = "tasks.storage.home.LAYOUT"


def crown(home: Home, model: Artifact, basis: Artifact) -> AliasRecord:
    """Make the toy's result the champion of a flow, as a gate would."""
    models = {"policy": reference_of(model)}
    evidence = {"win_rate": 0.6, "decision": reference_of(model)}
    draft = AliasRecord(
        0, "apo", CHAMPION, models, {"policy": model.digest}, "apo-1", "", "the gate held", evidence
    )
    config = {"start": {"policy": reference_of(basis)}, "seed": 3}
    return move_alias(home, replace(draft, basis={"data": reference_of(basis)}, config=config))


@pytest.fixture
def exported(toy: Any, home: Home, tmp_path: Path) -> tuple[Path, AliasRecord]:
    model = toy.flow()
    record = crown(home, model, model)
    assert export_champion(home, "apo", tmp_path / "archive") == record
    return tmp_path / "archive", record


def content(home: Home, record: AliasRecord) -> list[Any]:
    return digest_tree(alias_models(home, record)["policy"].path)


def test_there_and_back(
    exported: tuple[Path, AliasRecord],
    toy: Any,
    home: Home,
    at: Callable[[str], Home],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    archive, record = exported
    monkeypatch.setattr(LAYOUT, 7)
    there = at("other")
    taken = import_champion(there, archive)
    assert json.loads((there.root / "version.json").read_text()) == {"layout": 7}
    assert (taken.run, taken.digests, taken.number) == (record.run, record.digests, 1)
    assert taken.reason.startswith("imported from a store of layout 2, Sparring ")
    assert taken.evidence["win_rate"] == 0.6 and taken.evidence["imported"]["layout"] == 2
    assert content(there, taken) == content(home, record)

    back = tmp_path / "back"
    export_champion(there, "apo", back)
    monkeypatch.setattr(LAYOUT, 2)
    third = at("third")
    again = import_champion(third, back)
    assert again.evidence["imported"]["layout"] == 7
    assert content(third, again) == content(home, record)
    assert len({record.models["policy"], taken.models["policy"], again.models["policy"]}) == 3


def test_its_origin_and_lineage_come_along(
    exported: tuple[Path, AliasRecord], home: Home, at: Callable[[str], Home]
) -> None:
    archive, record = exported
    there = at("other")
    taken = import_champion(there, archive)
    stage, key = taken.models["policy"].split("/")
    manifest = load_manifest(there, stage, key)
    assert manifest is not None
    origin = manifest.provenance["imported"]
    assert f"{stage}/{origin['key']}" == record.models["policy"]
    assert origin.keys() == {"layout", "sparring", "code", "exported", "key"}
    old = ancestry(home, [(stage, origin["key"])])
    new = ancestry(there, [(stage, key)])
    assert [(one.title, one.digest) for one in new.nodes.values()] == [
        (one.title, one.digest) for one in old.nodes.values()
    ]
    assert len(new.nodes) == 4 and not {*old.into} & {*new.into}
    # What was mentioned by its key is mentioned by the new one.
    mentioned = (taken.evidence["decision"], taken.config["start"]["policy"])
    assert mentioned == (taken.models["policy"],) * 2 and taken.config["seed"] == 3


def test_no_stage_takes_it_for_its_result_and_housekeeping_keeps_it(
    exported: tuple[Path, AliasRecord], toy: Any, at: Callable[[str], Home]
) -> None:
    archive, record = exported
    there = at("other")
    taken = import_champion(there, archive)
    before = len(toy.started())
    assert toy.flow().digest == record.digests["policy"]
    assert len(toy.started()) == 2 * before
    sweep(there, Policy(keep_runs=0, days=0.0, grace_seconds=-5.0))
    assert content(there, taken)


def test_a_second_import_changes_nothing(
    exported: tuple[Path, AliasRecord], at: Callable[[str], Home]
) -> None:
    there = at("other")
    one = import_champion(there, exported[0])
    assert import_champion(there, exported[0]) == one == current_alias(there, "apo", CHAMPION)
    assert len(alias_history(there, "apo", CHAMPION)) == 1


def test_with_a_remote_it_is_there_for_every_machine(
    exported: tuple[Path, AliasRecord], shared: Path, at: Callable[[str], Home]
) -> None:
    taken = import_champion(at("b"), exported[0])
    elsewhere = at("c")
    record = current_alias(elsewhere, "apo", CHAMPION)
    assert record == taken
    again = export_champion(elsewhere, "apo", shared.parent / "again")
    assert again == taken and (shared.parent / "again/policy/metrics.json").is_file()


@pytest.mark.parametrize("name", [RECORD, "policy/metrics.json"])
def test_a_damaged_archive_is_refused_and_nothing_moves(
    exported: tuple[Path, AliasRecord], at: Callable[[str], Home], name: str
) -> None:
    path = exported[0] / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    there = at("other")
    with pytest.raises(CorruptError, match="export"):
        import_champion(there, exported[0])
    assert current_alias(there, "apo", CHAMPION) is None


def test_what_cannot_be_done_is_said(
    exported: tuple[Path, AliasRecord], home: Home, at: Callable[[str], Home], tmp_path: Path
) -> None:
    archive, _ = exported
    with pytest.raises(ConfigError, match="is there already: name a new folder"):
        export_champion(home, "apo", archive)
    plain = json.loads((archive / RECORD).read_text())
    (archive / RECORD).write_text(json.dumps({**plain, "format": 9}))
    other = at("other")
    with pytest.raises(ConfigError, match="has format 9, this version reads 1"):
        import_champion(other, archive)
    with pytest.raises(ConfigError, match=r"holds no champion.json"):
        import_champion(other, tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="exo has no champion yet"):
        export_champion(home, "exo", tmp_path / "new")
