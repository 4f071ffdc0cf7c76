"""Runs are found by their ids, by the beginning of one, and as the newest."""

from __future__ import annotations

import pytest

from tasks.settings.errors import ConfigError
from tasks.stages.runs.run_store import claim_run, list_runs, load_run
from tasks.storage.home import Home


def test_unknown_runs(home: Home) -> None:
    with pytest.raises(ConfigError, match="there is no run 'x'"):
        load_run(home, "x")
    with pytest.raises(ConfigError, match="there is no run 'latest'"):
        load_run(home, "latest")
    one, two = (claim_run(home, "toy", None, "", "") for _ in range(2))
    with pytest.raises(ConfigError, match="2 runs begin with 'toy-'"):
        load_run(home, "toy-")
    assert load_run(home, one.id) == one != two
    assert load_run(home, "latest") in (one, two) and len(list_runs(home)) == 2
