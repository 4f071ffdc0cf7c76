"""The flow that a worker runs for one placed stage."""

from __future__ import annotations

import pytest

from flows.placement.stage_flow import stage_named
from tasks.settings.errors import ConfigError


def test_a_worker_imports_no_stage_but_those_of_the_house() -> None:
    assert stage_named("update_policy").spec.resources == "gpu"
    for name in ("os", "stages", "update_polic", "../x", ""):
        with pytest.raises(ConfigError, match="has no stage"):
            stage_named(name)
