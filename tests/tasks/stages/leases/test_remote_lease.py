"""One owner at a time among machines that share a remote."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.processes.identity import current_process
from tasks.stages.leases.lease import Lease, LeaseLostError
from tasks.stages.leases.remote_lease import acquire_everywhere
from tasks.stages.remote.layout import beat_name, read_object, token_name, write_object
from tasks.storage.home import Home
from tasks.tracking.remote.base import Remote, RemoteError
from tasks.tracking.remote.folder import FolderRemote


@pytest.fixture
def remote(tmp_path: Path) -> FolderRemote:
    return FolderRemote(tmp_path / "shared")


def _acquire(folder: Path, remote: Remote, said: list[str] | None = None) -> Any:
    home = Home(folder).ensure()
    return acquire_everywhere(
        home, remote, "k", is_done=lambda: None, say=(said if said is not None else []).append
    )


def _owner(remote: Remote, token: int) -> Any:
    record = read_object(remote, token_name("k", token))
    assert record is not None
    return record["owner"]


def test_tokens_grow_across_machines(tmp_path: Path, remote: FolderRemote) -> None:
    for token, machine in ((1, "a"), (2, "b"), (3, "a"), (4, "a")):
        lease = _acquire(tmp_path / machine, remote)
        assert isinstance(lease, Lease) and lease.token == token
        lease.check()
        with lease.fenced():
            pass
        assert _owner(remote, token)["pid"] == os.getpid()
        lease.release()
        assert _owner(remote, token) is None


def test_the_attempts_before_the_remote_count(tmp_path: Path, remote: FolderRemote) -> None:
    """An attempt's number names its folder here, so it is above all that were here."""
    home = Home(tmp_path / "a").ensure()
    for _ in range(3):
        acquire_everywhere(home, None, "k", is_done=lambda: None, say=print).release()
    lease = _acquire(tmp_path / "a", remote)
    assert lease.token == 4 and remote.get(token_name("k", 1))
    lease.release()
    other = _acquire(tmp_path / "b", remote)
    assert other.token == 2
    other.release()


def test_a_killed_owner_on_this_machine_is_replaced_at_once(
    tmp_path: Path, remote: FolderRemote, child: Any
) -> None:
    def hold() -> None:
        _acquire(tmp_path / "a", remote)
        os.kill(os.getpid(), signal.SIGKILL)

    assert child(hold).wait()[0] == -signal.SIGKILL
    shutil.rmtree(tmp_path / "a")
    began = time.monotonic()
    lease = _acquire(tmp_path / "b", remote)
    assert lease.token == 2 and time.monotonic() - began < 5  # the time to live is 90 s
    lease.release()


@pytest.fixture
def far(remote: FolderRemote) -> Iterator[dict[str, Any]]:
    """An owner on a machine that cannot be looked at from here."""
    owner = {**current_process().to_json(), "boot": "elsewhere", "host": "far"}
    write_object(remote, token_name("k", 1), {"owner": owner})
    yield owner


def test_an_unseen_owner_is_believed_until_it_is_silent(
    tmp_path: Path, remote: FolderRemote, far: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARRING_LEASE_TTL", "1.5")
    remote.put(beat_name("k", 1), b"")
    began, said = time.monotonic(), list[str]()
    lease = _acquire(tmp_path / "a", remote, said)
    assert 1 < time.monotonic() - began < 10
    assert said[0].startswith(f"waiting for process {os.getpid()} on far")
    lease.release()


def test_waiting_ends_with_the_result(tmp_path: Path, remote: FolderRemote, far: Any) -> None:
    home = Home(tmp_path / "a").ensure()
    assert acquire_everywhere(home, remote, "k", is_done=lambda: "done", say=print) == "done"
    again = acquire_everywhere(home, None, "k", is_done=lambda: "free", say=print)
    assert isinstance(again, Lease)  # the lease of this machine was given back
    again.release()


def test_a_damaged_lease_is_held_until_its_owner_must_be_dead(
    tmp_path: Path, remote: FolderRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARRING_LEASE_TTL", "2")
    for token, data in ((1, b"{"), (2, b'{"owner": 7}')):
        remote.put(token_name("k", token), data)
        home = Home(tmp_path / "a").ensure()
        assert acquire_everywhere(home, remote, "k", is_done=lambda: "done", say=print) == "done"
        lease = _acquire(tmp_path / "a", remote)
        assert lease.token > token and _owner(remote, token + 1)["pid"] == os.getpid()
        lease.release()


def test_who_is_superseded_cannot_go_on(tmp_path: Path, remote: FolderRemote, far: Any) -> None:
    remote.delete(token_name("k", 1))
    lease = _acquire(tmp_path / "a", remote)
    write_object(remote, token_name("k", 2), {"owner": far})
    with pytest.raises(LeaseLostError, match="another machine took over"), lease.fenced():
        pytest.fail("nobody may come here")
    lease.release()
    assert _owner(remote, 2) == far


class Outage(FolderRemote):
    """A remote that is out when told."""

    is_out = False

    def put(self, name: str, data: bytes) -> None:
        if self.is_out:
            raise RemoteError("out")
        super().put(name, data)


def test_an_outage_loses_no_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until: Any
) -> None:
    """While nobody can write, nobody can take over; afterwards the owner beats on."""
    monkeypatch.setenv("SPARRING_LEASE_TTL", "0.6")
    remote = Outage(tmp_path / "shared")
    lease = _acquire(tmp_path / "a", remote)
    wait_until(lambda: remote.get(beat_name("k", 1)) is not None)
    remote.is_out = True
    time.sleep(1.0)
    lease.check()
    remote.is_out = False
    wait_until(lambda: (remote.age(beat_name("k", 1)) or 0.0) < 0.3)
    lease.check()
    lease.release()
    assert remote.get(beat_name("k", 1)) is None


def test_eight_machines_one_owner(tmp_path: Path, remote: FolderRemote, child: Any) -> None:
    def work(name: str) -> str:
        lease = _acquire(tmp_path / name, remote)
        with open(tmp_path / "log", "a") as log:
            log.write(f"in {name}\n")
            log.flush()
            time.sleep(0.05)
            log.write(f"out {name}\n")
        token = lease.token
        lease.release()
        return str(token)

    children = [child(lambda name=f"m{number}": work(name)) for number in range(8)]
    answers = [process.wait() for process in children]
    assert sorted(int(answer) for _, answer in answers) == list(range(1, 9)), answers
    lines = (tmp_path / "log").read_text().split("\n")[:-1]
    for entered, left in zip(lines[::2], lines[1::2], strict=True):
        assert entered.replace("in", "out") == left
