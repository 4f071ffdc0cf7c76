"""Which TQRs a run goes on from, and at which temperature their policies are judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows.ava import ava
from flows.configs.apo import ApoConfig
from flows.configs.ava import AvaConfig
from flows.configs.exo import ExoConfig
from flows.exo import exo
from flows.steps import exo_evaluation
from flows.steps.ava import arm_evaluation
from flows.steps.inputs import base_policy
from flows.steps.tqr_starts import tqr_of
from tasks.models.tqr.config import TqrConfig
from tasks.models.tqr.marker import write_marker
from tasks.settings.errors import ConfigError
from tasks.settings.loading import apply_overrides, load_config, validate
from tasks.stages.artifact import external_artifact
from tasks.stages.call import StageCall
from tests.flows.command import SMALL
from tests.flows.steps.noted_calls import made

KINDS = {"small": ApoConfig, "exo-small": ExoConfig, "ava-small": AvaConfig}
ASKING = {"exo-small": "exo_evaluation", "ava-small": "ava.arm_evaluation"}
STARTED = f"start.policy=update_tqr/{'0' * 64}"


def config(name: str, *overrides: str) -> Any:
    file = SMALL.with_name(f"{name}.yaml")
    return validate(KINDS[name], apply_overrides(load_config(file), overrides), file.name)


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes every model that a configuration names a TQR of this alpha."""

    def name(alpha: float) -> None:
        finished = replace(made("finished"), stage="update_tqr", label="start policy")
        monkeypatch.setattr("flows.steps.inputs.start_artifact", lambda *_: finished)
        for where in ("tqr_starts", "exo_evaluation", "ava.arm_evaluation"):
            monkeypatch.setattr(f"flows.steps.{where}.tqr_of", lambda _: TqrConfig(alpha=alpha))

    return name


def test_a_folder_says_that_it_is_a_tqr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARRING_HOME", str(tmp_path / "home"))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    assert tqr_of(external_artifact(folder)) is None
    write_marker(folder, TqrConfig(alpha=2))
    assert tqr_of(external_artifact(folder)) == TqrConfig(alpha=2)
    assert tqr_of(made("a policy")) is None


@pytest.mark.parametrize(
    ("name", "alpha", "wrong"), [("small", 1, 2), ("exo-small", 1.25, 1), ("ava-small", 1, 2)]
)
def test_a_start_is_drawn_from_as_it_was_trained(
    name: str, alpha: float, wrong: float, named: Any
) -> None:
    named(alpha)
    assert base_policy(config(name, STARTED)).label == "start policy"
    named(wrong)
    with pytest.raises(ConfigError, match=f"its alpha is {wrong}.*set the run's temperature so"):
        base_policy(config(name, STARTED))


def test_a_branch_goes_on_from_a_tqr_of_its_settings_alone(
    calls: list[StageCall], named: Any
) -> None:
    named(1.25)
    wanted = ("branches=[{method: ava_p}]", STARTED, "evaluation.density=null")
    exo.fn(config("exo-small", *wanted))
    (trained,) = [call for call in calls if call.spec.name == "update_tqr"]
    assert trained.inputs["base"].digest == "finished"
    with pytest.raises(ConfigError, match="other settings than `tqr` says: rwt_width 8, .*256"):
        exo.fn(config("exo-small", *wanted, "tqr.rwt_width=8"))


@pytest.mark.parametrize("name", ["exo-small", "ava-small"])
def test_a_champion_is_judged_at_its_own_temperature(
    name: str, calls: list[StageCall], named: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A policy that is no TQR: at the run's. Of ava's another one has no KL to the start."""
    monkeypatch.setattr(f"flows.steps.{ASKING[name]}.oracle_artifact", lambda _: None)
    basis = {role: made(role) for role in ("start", "test", "RM", "RM_Test")}
    judge = (exo_evaluation if name == "exo-small" else arm_evaluation).judge_champion
    usual = 0.8 if name == "exo-small" else 1.0
    judge(made("champion"), config(name), basis)
    named(2)
    judge(made("champion"), config(name), basis)
    drawn = [call for call in calls if call.spec.name == "sample_responses"]
    assert [one.config["sampling"]["temperature"] for one in drawn] == [usual, 0.5]
    measured = [call for call in calls if call.spec.name == "evaluate_policy"]
    has_kl = ["kl_samples" in call.inputs for call in measured]
    assert has_kl == [True, name == "exo-small"]
    if name == "exo-small":
        assert [call.config["temperature"] for call in measured] == [usual, 0.5]


def test_a_direct_arm_of_another_temperature_is_drawn_at_that(calls: list[StageCall]) -> None:
    ava.fn(config("ava-small", "arms=[{objective: ava_p, pipeline: direct}]", "tqr.alpha=2"))
    drawn = {call.label: call for call in calls if call.spec.name == "sample_responses"}
    assert drawn["start"].config["sampling"]["temperature"] == 1
    assert drawn["AVA-p s0"].config["sampling"]["temperature"] == 0.5
