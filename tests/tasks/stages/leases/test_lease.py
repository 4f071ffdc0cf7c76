"""One owner at a time; a dead or silent one is replaced and cannot commit any more."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tasks.processes.identity import current_process
from tasks.stages.artifact import external_artifact
from tasks.stages.leases.lease import Lease, LeaseLostError, acquire_lease
from tasks.storage.fencing import holds_lease, read_lease, write_lease
from tasks.storage.files import read_json, write_json
from tasks.storage.home import current_home


def _acquire(folder: Path, said: list[str] | None = None) -> Any:
    return acquire_lease(folder, "k", is_done=lambda: None, say=(said or []).append)


def test_tokens_grow(tmp_path: Path) -> None:
    for token in (1, 2, 3):
        lease = _acquire(tmp_path)
        assert isinstance(lease, Lease) and lease.token == token
        lease.check()
        assert holds_lease(tmp_path / "k.json", token)
        lease.release()
        assert not holds_lease(tmp_path / "k.json", token)


def test_a_killed_owner_is_replaced_at_once(tmp_path: Path, child: Any) -> None:
    def hold() -> None:
        _acquire(tmp_path)
        os.kill(os.getpid(), signal.SIGKILL)

    assert child(hold).wait()[0] == -signal.SIGKILL
    began = time.monotonic()
    lease = _acquire(tmp_path)
    assert lease.token == 2 and time.monotonic() - began < 5  # the time to live is 90 s
    lease.release()


def test_a_reused_process_number_is_not_the_owner(tmp_path: Path) -> None:
    """A live process of that number that started at another time is somebody else."""
    owner = {**current_process().to_json(), "started": current_process().started - 1}
    write_json(tmp_path / "k.json", {"token": 4, "owner": owner, "beat": 1e12, "time": 1e12})
    lease = _acquire(tmp_path)
    assert lease.token == 5
    lease.release()


def test_an_unseen_owner_is_believed_until_it_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine's process cannot be looked at: only its beat counts, by the wall clock."""
    monkeypatch.setenv("SPARRING_LEASE_TTL", "1.5")
    owner = {**current_process().to_json(), "boot": "elsewhere", "host": "far"}
    write_json(tmp_path / "k.json", {"token": 1, "owner": owner, "beat": 0, "time": time.time()})
    began, said = time.monotonic(), [""]
    lease = _acquire(tmp_path, said)
    assert 1 < time.monotonic() - began < 10
    assert said[1].startswith(f"waiting for process {os.getpid()} on far")
    lease.release()


def test_the_wall_clock_may_jump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On one machine an hour's step of the clock neither kills nor saves an owner."""
    lease = _acquire(tmp_path)
    record = read_lease(tmp_path / "k.json")
    write_lease(tmp_path / "k.json", {**record, "time": record["time"] - 3600})
    assert acquire_lease(tmp_path, "k", is_done=lambda: "done", say=print) == "done"
    lease.check()
    lease.release()


@pytest.mark.parametrize("place", [0, 30, -3])
def test_a_damaged_lease_counts_as_held_and_its_owner_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until: Any, place: int
) -> None:
    """A flipped first byte let a second process start the same stage with the same number."""
    monkeypatch.setenv("SPARRING_LEASE_TTL", "3")
    lease = _acquire(tmp_path)
    data = bytearray((tmp_path / "k.json").read_bytes())
    data[place] ^= 1
    (tmp_path / "k.json").write_bytes(data)
    assert acquire_lease(tmp_path, "k", is_done=lambda: "done", say=print) == "done"
    lease.check()
    wait_until(lambda: read_lease(tmp_path / "k.json").get("owner"))
    lease.check()
    lease.release()
    assert not holds_lease(tmp_path / "k.json", 1)


def test_a_damaged_lease_of_a_dead_owner_runs_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARRING_LEASE_TTL", "1")
    write_lease(tmp_path / "k.json", {"token": 4, "owner": {"pid": 1}})
    (tmp_path / "k.json").write_text("{")
    lease = _acquire(tmp_path)
    assert lease.token == 5
    lease.release()


def test_an_owner_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until: Any) -> None:
    monkeypatch.setenv("SPARRING_LEASE_TTL", "0.6")
    lease = _acquire(tmp_path)
    first = read_json(tmp_path / "k.json")["beat"]
    wait_until(lambda: read_json(tmp_path / "k.json")["beat"] > first + 0.5)
    lease.check()
    lease.release()


def test_a_stopped_owner_cannot_commit(
    toy: Any, child: Any, wait_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stopped past its time, another one does the work, it goes on, and is refused."""
    monkeypatch.setenv("SPARRING_LEASE_TTL", "1")
    source = external_artifact(toy.source)

    first = child(lambda: _shard(toy, source, 1.0))
    wait_until(toy.started)
    first.send(signal.SIGSTOP)
    second = child(lambda: _shard(toy, source, 1.0))
    code, answer = second.wait()
    first.send(signal.SIGCONT)
    refused = first.wait()
    assert code == 0, answer
    assert refused[0] == 1 and "lost its lease" in refused[1]
    (manifest,) = current_home().manifests.glob("*/*.json")
    assert read_json(manifest)["provenance"]["attempt"] == 2
    assert _shard(toy, source, 1.0) == answer
    assert toy.started().count("shard") == 2


def _shard(toy: Any, source: Any, seconds: float) -> str:
    return str(toy.shard(source, config=toy.config(seconds=seconds), seed=1).digest)


def test_fencing(tmp_path: Path) -> None:
    """A superseded token is refused at the commit, also before the beat has noticed."""
    lease = _acquire(tmp_path)
    write_lease(tmp_path / "k.json", {**read_lease(tmp_path / "k.json"), "token": 2})
    with pytest.raises(LeaseLostError, match="attempt 1 at k lost its lease"), lease.fenced():
        pytest.fail("nobody may come here")
    lease.release()
    assert read_json(tmp_path / "k.json")["token"] == 2
