"""The flow `apo` with the policy methods of EXO: what they ask of the stages before them."""

from __future__ import annotations

import json

import pytest

from flows.configs.apo import ApoConfig
from tasks.settings.loading import apply_overrides, load_config, validate
from tasks.stages.manifest import list_manifests
from tasks.training.ppo.config import PpoConfig
from tests.flows.command import SMALL, Shell, sets

RUN = ("run", "apo", "-c", str(SMALL))
PPO = (
    "policy.method=ppo",
    "policy.coefficients.ppo={total_steps: 3, prompts_per_step: 8, ppo_epochs: 1, precision: fp32}",
    "reward.ablations=[]",
)


def config(*overrides: str) -> ApoConfig:
    return validate(ApoConfig, apply_overrides(load_config(SMALL), overrides), "small.yaml")


def test_ppos_settings_are_the_coefficients_of_its_method() -> None:
    found = config(*PPO)
    assert isinstance(found.policy.own_coefficients, PpoConfig)
    assert not found.policy.traits.needs_reference
    assert ApoConfig.model_validate(found.model_dump(mode="json")) == found
    settings = found.ppo_at_epoch(1)
    assert (settings.total_steps, settings.actor_learning_rate) == (3, 3e-4)
    assert settings.limits.max_response_tokens == found.sampling.max_new_tokens
    assert settings.scoring == found.scoring() and settings.template == "plain"


@pytest.mark.parametrize(
    ("method", "stage", "absent"),
    [
        ("exo_rw", "compute_reference_logps", "update_policy_by_ppo"),
        ("exo_pref", "compute_reference_logps", "update_policy_by_ppo"),
        ("dpo_rw", "compute_reference_logps", "update_policy_by_ppo"),
        ("ppo", "update_policy_by_ppo", "compute_reference_logps"),
    ],
)
def test_every_method_of_exo_is_a_policy_method_of_apo(
    fresh: Shell, method: str, stage: str, absent: str
) -> None:
    planned = fresh("plan", "apo", "-c", str(SMALL), *sets(f"policy.method={method}"), "--json")
    stages = {one["stage"] for one in json.loads(planned.stdout)}
    assert stage in stages and absent not in stages


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [PPO, ("policy.method=exo_rw", "reward.ablations=[]")])
def test_the_game_is_played_with_it_to_the_report(fresh: Shell, overrides: tuple[str, ...]) -> None:
    fresh(*RUN, *sets(*overrides))
    (report,) = list_manifests(fresh.home, "write_apo_report")
    method = overrides[0].partition("=")[2].upper()
    assert f"APO-{method}-v1" in (report.folder(fresh.home) / "report.md").read_text()
