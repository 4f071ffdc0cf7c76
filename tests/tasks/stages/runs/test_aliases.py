"""Aliases: numbered moves, the remote's truth, and the way back."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tasks.settings.errors import ConfigError
from tasks.stages.manifest import Manifest, commit_manifest
from tasks.stages.runs.aliases import (
    AliasMovedError,
    AliasRecord,
    alias_history,
    alias_models,
    current_alias,
    list_aliases,
    move_alias,
    records_before,
    require_alias,
)
from tasks.stages.runs.references import referenced_artifact
from tasks.storage.digests import digest_tree, directory_md5
from tasks.storage.home import Home


def committed(home: Home, key: str = "a" * 64, stage: str = "update_policy") -> Manifest:
    """A finished stage whose output is one small file."""
    folder = home.store / stage / key[:16]
    folder.mkdir(parents=True)
    (folder / "model.txt").write_text(key)
    files = tuple(digest_tree(folder))
    manifest = Manifest(key, stage, 1, None, 0, {}, directory_md5(files), files, {})
    commit_manifest(home, manifest)
    return manifest


def draft(run: str = "apo-1", alias: str = "champion", restores: int = 0) -> AliasRecord:
    models = {"policy": f"update_policy/{'a' * 64}"}
    return AliasRecord(0, "apo", alias, models, {"policy": "d.dir"}, run, "", "why", {}, restores)


def test_moves_are_numbered_and_kept(home: Home) -> None:
    assert alias_history(home, "apo", "champion") == []
    for run in ("one", "two"):
        move_alias(home, draft(run))
    assert [(one.number, one.run) for one in alias_history(home, "apo", "champion")] == [
        (1, "one"),
        (2, "two"),
    ]
    assert (home.root / "aliases/apo/champion/000002.json").is_file()
    assert [one.run for one in list_aliases(home)] == ["two"]
    assert list_aliases(home)[0].models == {"policy": f"update_policy/{'a' * 64}"}


def test_of_two_moves_at_once_one_wins(home: Home) -> None:
    move_alias(home, draft("first"))
    done: list[str] = []

    def move(run: str) -> None:
        try:
            move_alias(home, draft(run), after=1)
            done.append(run)
        except AliasMovedError:
            pass

    threads = [threading.Thread(target=move, args=(f"run-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 1
    assert [one.run for one in alias_history(home, "apo", "champion")] == ["first", done[0]]


def test_without_a_condition_every_move_finds_a_number(home: Home) -> None:
    threads = [
        threading.Thread(target=move_alias, args=(home, draft(f"run-{n}"))) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    history = alias_history(home, "apo", "champion")
    assert [one.number for one in history] == list(range(1, 9))
    assert len({one.run for one in history}) == 8


def test_an_alias_that_was_never_set_says_how_to_set_it(home: Home) -> None:
    with pytest.raises(ConfigError, match="apo has no champion yet; `sparring promote"):
        require_alias(home, "apo", "champion")


def test_an_alias_whose_model_is_gone_is_a_clear_error(home: Home) -> None:
    record = move_alias(home, draft())
    with pytest.raises(ConfigError, match="policy of the champion of apo .run apo-1. is update_po"):
        alias_models(home, record)
    manifest = committed(home)
    assert alias_models(home, record)["policy"].digest == manifest.digest
    (manifest.folder(home) / "model.txt").unlink()
    with pytest.raises(ConfigError, match=r"files are damaged: model\.txt is missing"):
        alias_models(home, record)


@pytest.mark.parametrize("reference", ["update_policy", "update_policy/abc", "../x/" + "a" * 64])
def test_what_is_no_reference_is_refused(home: Home, reference: str) -> None:
    with pytest.raises(ConfigError, match=r"start\.policy is .*expected STAGE/KEY"):
        referenced_artifact(home, reference, "start", said_by="start.policy")


def test_the_remote_is_the_truth_and_gets_the_history(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move_alias(home, draft("before there was a remote"))
    monkeypatch.setenv("SPARRING_REMOTE", str(tmp_path / "remote"))
    record = current_alias(home, "apo", "champion")
    assert record and record.run == "before there was a remote"
    move_alias(home, draft("here"))
    elsewhere = Home(tmp_path / "elsewhere").ensure()
    assert [one.number for one in alias_history(elsewhere, "apo", "champion")] == [1, 2]
    move_alias(elsewhere, draft("there"), after=2)
    record = current_alias(home, "apo", "champion")
    assert record and record.run == "there"


def test_going_back_twice_goes_further_back(home: Home) -> None:
    def before() -> list[str]:
        return [one.run for one in records_before(alias_history(home, "apo", "champion"))]

    for run in ("a", "b", "c"):
        assert "@" in move_alias(home, draft(run)).who
    assert before() == ["b", "a"]
    move_alias(home, draft("b", restores=2))
    assert before() == ["a"]
    move_alias(home, draft("a", restores=1))
    assert before() == []
    move_alias(home, draft("d"))
    assert before() == ["a"]


def test_a_new_remote_does_not_hide_aliases(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move_alias(home, draft("one"))
    monkeypatch.setenv("SPARRING_REMOTE", str(tmp_path / "remote"))
    assert [(one.flow, one.alias, one.run) for one in list_aliases(home)] == [
        ("apo", "champion", "one")
    ]
    assert (tmp_path / "remote/aliases/apo/champion/000001.json").is_file()
