"""A process that works for an attempt sees when another one has taken over."""

from __future__ import annotations

from pathlib import Path

from tasks.storage.fencing import Claim, read_lease, write_lease
from tasks.storage.files import write_json


def test_a_claim_holds_until_somebody_takes_over_or_it_is_released(tmp_path: Path) -> None:
    claim = Claim(tmp_path / "k.json", 2)
    assert not claim.holds()
    write_json(claim.path, {"token": 2, "owner": {"pid": 1}})
    assert claim.holds()
    write_json(claim.path, {"token": 3, "owner": {"pid": 2}})
    assert not claim.holds()
    write_json(claim.path, {"token": 2, "owner": None})
    assert not claim.holds()


def test_a_damaged_lease_is_held_by_whoever_has_the_newest_number(tmp_path: Path) -> None:
    claim = Claim(tmp_path / "k.json", 2)
    write_lease(claim.path, {"token": 2, "owner": {"pid": 1}})
    claim.path.write_bytes(b"\x00" + claim.path.read_bytes()[1:])
    assert claim.holds() and not Claim(claim.path, 1).holds() and not Claim(claim.path, 3).holds()
    assert read_lease(claim.path)["damaged"] == claim.path.stat().st_mtime


def test_no_number_comes_again_whatever_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "k.json"
    for damaged in (["k.json"], ["k.token"], ["k.json", "k.token"]):
        write_lease(path, {"token": 7, "owner": {"pid": 1}})
        for name in damaged:
            (tmp_path / name).write_text("{")
        assert read_lease(path)["token"] >= 7
    path.unlink()
    assert read_lease(path)["token"] >= 7
