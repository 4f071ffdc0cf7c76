"""Every stage that wants a GPU and is no training computes on it, to the last multiplication."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tasks.data.files import read_groups, write_groups
from tasks.data.groups import Group, Message
from tasks.evaluation.ava.config import DiagnosisConfig
from tasks.evaluation.config import PolicyEvaluation, RewardModelEvaluation
from tasks.evaluation.exo.config import DensityConfig
from tasks.models import loading, precision, sample_shards
from tasks.models.architecture import ArchitectureConfig, build_policy
from tasks.models.loading import save_model
from tasks.models.sample_shards import RolloutConfig
from tasks.models.scoring.config import ScoringConfig
from tasks.models.scoring.labelling import LabelConfig
from tasks.models.tokens.encoding import Limits
from tasks.models.tokens.tokenizer import train_tokenizer
from tasks.models.tqr.model_files import save_tqr
from tasks.settings.log import NullLog
from tasks.storage.workspace import Workspace
from tasks.training.config import ReferenceConfig
from tasks.training.updates.classifier_config import ClassifierConfig
from tests.tasks.models.fake_device import KIND, FakeDevice
from tests.tasks.models.random_heads import random_reward_model
from tests.tasks.models.tqr.tqr_models import on_folder
from tests.tasks.stages.every_stage import STAGES

TRAININGS = {"update_policy", "update_policy_by_ppo", "update_reward_model", "update_tqr"}
LIMITS = Limits(max_prompt_tokens=40, max_response_tokens=12)
SCORING = ScoringConfig(limits=LIMITS, precision="fp32")
ROLLOUT = RolloutConfig(
    limits=LIMITS, sampling={"samples": 2, "max_new_tokens": 12, "precision": "fp32"}
)
EVALUATION = PolicyEvaluation(limits=LIMITS, template=None, bootstrap_samples=10)
# By the stage's name, its inputs (names of the folders below) and its config.
CALLS: dict[str, tuple[dict[str, Any], Any]] = {
    "sample_responses": ({"policy": "policy", "queries": "groups"}, ROLLOUT),
    "score_responses": ({"reward_model": "reward", "responses": "groups"}, SCORING),
    "label_preferences": (
        {"oracle": "reward", "responses": "groups"},
        LabelConfig(scoring=SCORING),
    ),
    "evaluate_reward_model": (
        {"reward_model": "reward", "pairs": {"test": "groups"}},
        RewardModelEvaluation(scoring=SCORING),
    ),
    "diagnose_rewards": (
        {"reward_model": "tqr", "pairs": "groups", "oracle": None},
        DiagnosisConfig(scoring=SCORING, prefix_tokens=(1,)),
    ),
    "evaluate_policy": (
        {
            "scores": {"RM": "groups"},
            **{"policy": "policy", "reference": "policy", "kl_samples": "groups"},
            **{"oracle": None, "opponents": {}},
        },
        EVALUATION,
    ),
    "estimate_density_ratios": (
        {"start": "policy", "policies": {"exo": "policy"}, "samples": "groups"},
        DensityConfig(limits=LIMITS, template=None, betas={"exo": 1.0}),
    ),
    "compute_reference_logps": (
        {"reference": "policy", "groups": ["groups"]},
        ReferenceConfig(method="dpo", limits=LIMITS, precision="fp32"),
    ),
    # A finished classifier, which is measured; a fine-tuned one is a training.
    "train_classifier": (
        {"labelled": None, "held_out": "texts", "source": "reward"},
        ClassifierConfig(model="reward", least_accuracy=0),
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `policy`, a `reward` model, a `tqr`, scored `groups` and labelled `texts`."""
    root = tmp_path_factory.mktemp("devices")
    asked = (f"what is {i}?" for i in range(3))
    groups = [Group((Message("user", text),), ("it is", "no, it"), (1.0, 0.0)) for text in asked]
    write_groups(root / "groups", groups)
    texts = (Group((), (text,), (float(i),)) for i, text in enumerate(("no", "it is")))
    write_groups(root / "texts", texts)
    tokenizer = train_tokenizer(iter(["what is 1? it is, no"] * 9), 280, root / "policy")
    shape = ArchitectureConfig(hidden_size=16, layers=1, heads=2, context=64)
    save_model(build_policy(shape, tokenizer, 0), tokenizer, root / "policy", "plain")
    model = random_reward_model(root / "policy", tokenizer, 0)
    save_model(model, tokenizer, root / "reward", "plain")
    tqr = on_folder(root / "policy")
    save_tqr(tqr.model, tqr.heads, tokenizer, root / "tqr", "plain")
    return root


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    """The device that models are to compute on."""
    for module in (precision, loading):
        monkeypatch.setattr(module, "compute_device", lambda: KIND)
    # A sampler works in a thread of its own, where the device would not be there.
    beat = SimpleNamespace(beat=lambda tokens: None)
    monkeypatch.setattr(sample_shards, "watch", lambda work, **settings: work(beat))
    return FakeDevice()


def artifacts(inputs: Any, folder: Path) -> Any:
    """Names of folders, however nested, as what a stage's body is given."""
    if isinstance(inputs, dict):
        return {name: artifacts(inner, folder) for name, inner in inputs.items()}
    if isinstance(inputs, list):
        return [artifacts(inner, folder) for inner in inputs]
    return inputs and SimpleNamespace(path=folder / inputs, digest=inputs)


def call(name: str, folder: Path, root: Path) -> tuple[dict[str, float], Workspace]:
    """Do a stage's work in a workspace."""
    inputs, config = CALLS[name]
    body, workspace = STAGES[name].body, Workspace(root / name)
    named = {"config": config, "workspace": workspace, "log": NullLog(), "seed": 0}
    asked = {key: value for key, value in named.items() if key in body.__annotations__}
    return body(**artifacts(inputs, folder), **asked), workspace


@pytest.mark.parametrize("name", CALLS)
def test_no_forward_pass_is_left_on_the_cpu(
    name: str, folder: Path, tmp_path: Path, device: FakeDevice
) -> None:
    with device:
        metrics, _ = call(name, folder, tmp_path)
    assert device.operations > 0 and metrics


def test_no_stage_is_forgotten() -> None:
    wanting = {name for name, stage in STAGES.items() if stage.resources == "gpu"}
    assert wanting == CALLS.keys() | TRAININGS


def test_the_device_computes_what_the_cpu_does(
    folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    _, here = call("score_responses", folder, tmp_path / "cpu")
    with request.getfixturevalue("device"):
        _, there = call("score_responses", folder, tmp_path / KIND)
    ours, theirs = (list(read_groups(space.output)) for space in (here, there))
    for one, other in zip(ours, theirs, strict=True):
        assert one.scores == pytest.approx(other.scores)


def test_a_model_that_is_left_behind_is_noticed(folder: Path, device: FakeDevice) -> None:
    from tasks.models.policy import load_policy

    ids = torch.tensor([[3, 4]])
    with device, torch.inference_mode():
        with pytest.raises(AssertionError, match="and of the CPU"):
            load_policy(folder / "policy")(ids)
        with pytest.raises(AssertionError, match="is computed on the CPU"):
            load_policy(folder / "policy").to("cpu")(ids)
