"""A process that works for an attempt sees when another one has taken over."""

from __future__ import annotations

from pathlib import Path

from tasks.storage.fencing import Claim, read_lease
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


def test_a_damaged_lease_is_free(tmp_path: Path) -> None:
    path = tmp_path / "k.json"
    path.write_text("{")
    assert read_lease(path) == {"token": 0, "owner": None}
