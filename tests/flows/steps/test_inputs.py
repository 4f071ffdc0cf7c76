"""What a flow reads of the user's, and which models' templates the data are tried with."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.configs.apo import ApoConfig
from flows.steps.apo_inputs import prepare_inputs
from tasks.settings.loading import apply_overrides, load_config, validate
from tasks.stages.plan import planning
from tasks.storage.home import Home

SMALL = Path(__file__).parents[1] / "configs" / "small.yaml"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like a model to whoever only plans."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("chat_template.jinja", "tokenizer_config.json", "model.safetensors"):
        (folder / name).write_text("{}")
    return folder


def planned(home: Path, *overrides: str) -> list[tuple[str, str]]:
    """Plan the inputs of a run; the stages with their states, up to prepare_data."""
    config = validate(ApoConfig, apply_overrides(load_config(SMALL), overrides), SMALL.name)
    with planning(Home(home)) as run:
        prepare_inputs(config)
    stages = [(stage.stage, stage.state) for stage in run.planned]
    return stages[: [name for name, _ in stages].index("prepare_data") + 1]


def test_the_template_of_a_named_model_is_tried_on_the_data(model: Path, tmp_path: Path) -> None:
    """The model is stored first, and the data wait for what it says."""
    own = ("model.architecture=null", f"model.path={model}", "model.template=null")
    stages = planned(tmp_path / "home", *own)
    assert stages == [("initialise_policy", "to run"), ("prepare_data", "waiting")]


def test_a_gguf_file_is_unpacked_by_a_stage_wherever_a_model_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planned by the file's bytes alone: what it holds is read when the stage runs."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF and so on")
    named = ("model.architecture=null", f"model.path={file}", "model.template=null")
    assert planned(tmp_path / "home", *named)[0] == ("initialise_policy", "to run")
    named = (f"reward.base={file}", "reward.template=null")
    assert ("initialise_policy", "to run") in planned(tmp_path / "home", *named)
    named = (f"compare_with.other={file}", "compare_templates.other=own")
    assert planned(tmp_path / "home", *named)[0] == ("initialise_policy", "to run")
    named = (f"compare_with.other={file}", "model.template=null", "sft.template=null")
    named += ("model.architecture=null", f"model.path={file}")
    assert len(planned(tmp_path / "home", *named)) == 3


def test_a_named_template_needs_no_trial(tmp_path: Path, model: Path) -> None:
    assert planned(tmp_path / "home") == [("prepare_data", "to run")]
    named = ("model.architecture=null", f"model.path={model}", "model.template=hh")
    assert planned(tmp_path / "home", *named) == [("prepare_data", "to run")]


def test_a_reward_model_that_changes_its_template_reads_the_data_anew(
    model: Path, tmp_path: Path
) -> None:
    def key() -> str:
        config = apply_overrides(
            load_config(SMALL), [f"reward.base={model}", "reward.template=null"]
        )
        with planning(Home(tmp_path / "home")) as run:
            prepare_inputs(validate(ApoConfig, config, SMALL.name))
        return next(stage.key for stage in run.planned if stage.stage == "prepare_data")

    first = key()
    (model / "model.safetensors").write_text("other weights")
    assert key() == first
    (model / "chat_template.jinja").write_text("{{ 2 }}")
    assert key() != first
