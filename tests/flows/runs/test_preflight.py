"""Which models are looked at before the first stage, and that each is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.configs.apo import ApoConfig
from flows.runs.preflight import check_models
from tasks.settings.errors import ConfigError
from tasks.settings.loading import load_config

SMALL = Path(__file__).parents[1] / "configs" / "small.yaml"


def config(model: dict[str, Any] | None = None, **changes: Any) -> ApoConfig:
    tree = load_config(SMALL)
    return ApoConfig(**{**tree, "model": model or tree["model"], **changes})


def test_a_built_architecture_is_no_named_model() -> None:
    assert list(config().named_models()) == []
    check_models(config())


def test_every_named_model_with_its_revision() -> None:
    wanted = config({"hub": "a/b", "revision": "v2"}, compare_with={"other": "c/d"})
    found = [(model.source, model.revision) for model in wanted.named_models()]
    assert found == [("a/b", "v2"), ("c/d", None)]


def test_a_model_that_is_not_there_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        check_models(config({"path": str(tmp_path / "nowhere")}))
