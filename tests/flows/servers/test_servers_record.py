"""The record of servers survives damage, and `down` needs nothing of what old runs left."""

from __future__ import annotations

import pytest

from flows.servers.persistent import stop_servers
from flows.servers.service import all_records, save_record
from tasks.stages.runs.run_store import claim_run, save_status
from tasks.storage.errors import CorruptError
from tasks.storage.home import Home


def test_a_damaged_record_is_read_from_its_copy_and_down_works(home: Home) -> None:
    run = claim_run(home, "toy", None, "", "")
    save_status(home, run.id, "completed")
    (home.runs / run.id / "run.json").write_text("{")
    save_record(home, "prefect", {"pid": 0, "port": 4200})
    home.servers.write_bytes(home.servers.read_bytes()[:-20])
    assert all_records(home) == {"prefect": {"pid": 0, "port": 4200}}
    assert stop_servers(home) == []
    save_record(home, "mlflow", {"port": 5000})
    assert sorted(all_records(home)) == ["mlflow", "prefect"], "written whole again"
    for path in (home.servers, home.root / ".servers.json.copy"):
        path.write_bytes(b"{")
    with pytest.raises(CorruptError, match=r"servers\.json is damaged"):
        all_records(home)
