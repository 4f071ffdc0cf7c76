"""Every flow by its name: the Prefect flow, its configuration, and who judges its champion."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.configs.recurring import RecurringConfig
from flows.registry import CONFIGS, FLOWS, JUDGE, PROMOTION, find_flow, read_any_config, read_config
from tasks.settings.errors import ConfigError


@pytest.mark.parametrize("name", [*FLOWS, PROMOTION.name, JUDGE.name])
def test_a_name_leads_to_a_flow_that_takes_its_configuration(name: str) -> None:
    entry = find_flow(name)
    flow = entry.flow()
    assert flow.name == name
    assert flow.fn.__annotations__["config"] is entry.config_class()
    assert f"{flow.fn.__module__}.{flow.fn.__name__}" == entry.entrypoint


@pytest.mark.parametrize("name", FLOWS)
def test_the_default_config_of_every_listed_flow_can_be_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = read_config(FLOWS[name], None, ["seed=7"])
    assert isinstance(config, RecurringConfig) and config.seed == 7
    assert FLOWS[name].judge_champion is not None, "each of them can have a champion"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_config_is_read_by_the_flow_that_has_its_keys(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So are all of ours, whose hub names are refused where `datasets` would refuse them."""
    for name in (
        "BASE_MODEL",
        "GOLD",
        "GPT4LLM",
        "PAIRS",
        "PROMPTS",
        "SPARRING_DATA",
        "SUBSET",
        "REWARD_MODEL",
    ):
        monkeypatch.setenv(name, "/somewhere")
    entry, config = read_any_config(path)
    assert entry.name == path.stem.partition("-")[0]
    assert type(config) is entry.config_class()


def test_an_unknown_flow_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(
        ConfigError, match=r"no flow 'apoo'; did you mean 'apo'\? known: apo, exo, ava"
    ):
        find_flow("apoo")
    with pytest.raises(ConfigError, match="promotion has no config of its own"):
        read_config(PROMOTION, None, [])
