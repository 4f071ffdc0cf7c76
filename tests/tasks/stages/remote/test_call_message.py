"""A described call comes back as it was, whatever stage it is of, or is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.models.sample_shards import RolloutConfig
from tasks.models.sampling.config import SamplingConfig
from tasks.settings.errors import ConfigError
from tasks.stages.artifact import external_artifact
from tasks.stages.remote.call_message import (
    CallOutcome,
    describe_call,
    read_call,
    read_outcome,
    rebuild_call,
    write_call,
    write_outcome,
)
from tasks.storage.errors import CorruptError
from tasks.storage.home import Home
from tasks.tracking.remote.folder import FolderRemote
from tasks.training.config import PolicyConfig, RewardConfig
from tests.tasks.stages.every_stage import STAGES, artifact, example


def through_json(description: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(description))


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_comes_back(name: str, home: Home) -> None:
    spec = STAGES[name]
    call = spec.bind((), example(spec), "epoch 1")
    described = through_json(describe_call(call, "apo-1"))
    back = rebuild_call(described, spec, home)
    assert (back.key, back.title, back.config, back.seed) == (
        call.key, call.title, call.config, call.seed
    )  # fmt: skip
    assert back.inputs.keys() == call.inputs.keys()
    for role, one in back.inputs.items():
        assert one.path == home.store / one.stage / one.key[:16] / one.subpath
        assert replace(one, path=Path()) == replace(call.inputs[role], path=Path())
    for argument, value in call.arguments.items():
        if isinstance(value, dict):
            assert list(back.arguments[argument]) == list(value), (
                "a body may go through it in order"
            )
    assert "/elsewhere" not in json.dumps(described)


samplings = st.builds(
    SamplingConfig,
    samples=st.integers(1, 64),
    temperature=st.floats(1e-3, 10, allow_subnormal=False),
    top_p=st.floats(0.01, 1),
    max_new_tokens=st.integers(1, 4096),
)


@given(
    st.builds(RolloutConfig, sampling=samplings, max_queries=st.none() | st.integers(1, 10**6)),
    st.integers(0, 2**63),
    st.text(max_size=20),
)
def test_any_config_seed_and_label_come_back(config: Any, seed: int, label: str) -> None:
    spec = STAGES["sample_responses"]
    call = spec.bind((artifact(1), artifact(2)), {"config": config, "seed": seed}, label)
    back = rebuild_call(through_json(describe_call(call, "run")), spec, Home(Path("/home")))
    assert back.key == call.key and back.label == label
    assert back.arguments["config"] == config and back.arguments["seed"] == seed


@given(st.floats(1e-9, 1, exclude_min=True), st.integers(1, 64))
def test_training_configs_come_back(rate: float, size: int) -> None:
    for model, name in ((PolicyConfig, "update_policy"), (RewardConfig, "update_reward_model")):
        training = {"learning_rate": rate, "batch_size": size, "micro_batch_tokens": 100 * size}
        config = model(training=training)
        spec = STAGES[name]
        call = spec.bind((artifact(1), [artifact(2)]), {"config": config, "seed": 0}, "")
        back = rebuild_call(through_json(describe_call(call, "run")), spec, Home(Path("/home")))
        assert back.arguments["config"] == config and back.key == call.key


def test_a_users_file_comes_back_by_path_or_by_digest(home: Home, tmp_path: Path) -> None:
    gold = tmp_path / "gold.jsonl"
    gold.write_text("{}\n")
    spec = STAGES["collect_gold"]
    given_file = external_artifact(gold)
    call = spec.bind((), example(spec, answers=given_file), "")
    description = through_json(describe_call(call, "run"))
    assert rebuild_call(description, spec, home).inputs["answers"].path == gold
    gold.write_text("other\n")
    found = rebuild_call(description, spec, home).inputs["answers"]
    assert found.path == home.root / "external" / given_file.digest / "gold.jsonl"
    assert found.digest == given_file.digest


def test_what_would_not_come_back_is_refused_where_it_is_made(home: Home) -> None:
    spec = STAGES["sample_responses"]

    class Wider(RolloutConfig):
        """A config with a key that the stage's own does not have."""

        more: int = 1
        """Unknown to the worker."""

    call = spec.bind((artifact(1), artifact(2)), {"config": Wider(), "seed": 0}, "")
    with pytest.raises(TypeError, match="config"):
        describe_call(call, "run")


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (
            {"code": "9" * 64, "sparring": "9.9"},
            ConfigError,
            r"9\.9 \(code 999999999999\).*same Spar",
        ),
        ({"version": 99}, ConfigError, "version 99, this worker"),
        ({"layout": 2}, ConfigError, "install the same"),
        ({"key": "0" * 64}, CorruptError, "it is damaged"),
        ({"arguments": {}}, CorruptError, "damaged"),
    ],
)
def test_another_version_or_content_is_refused(
    change: dict[str, Any], error: type[Exception], words: str, home: Home
) -> None:
    spec = STAGES["pair_with_gold"]
    call = spec.bind((), example(spec), "")
    description = {**through_json(describe_call(call, "run")), **change}
    with pytest.raises(error, match=words):
        rebuild_call(description, spec, home)


@pytest.mark.parametrize("shared", [True, False], ids=["home", "remote"])
def test_description_and_outcome_travel(shared: bool, home: Home, tmp_path: Path) -> None:
    remote = None if shared else FolderRemote(tmp_path / "remote")
    other = home if shared else Home(tmp_path / "other").ensure()
    spec = STAGES["pair_with_gold"]
    call = spec.bind((), example(spec), "v1")
    write_call(home, remote, describe_call(call, "run"))
    assert rebuild_call(read_call(other, remote, call.key), spec, other).key == call.key
    assert read_outcome(home, remote, call.key, "flow-1") is None
    outcome = CallOutcome("flow-1", "failed", error="ConfigError", message="no " + "x" * 9000)
    write_outcome(other, remote, call.key, outcome)
    found = read_outcome(home, remote, call.key, "flow-1")
    assert found and found.error == "ConfigError" and len(found.message) == 4000
    assert read_outcome(home, remote, call.key, "flow-2") is None, "that of an earlier flow run"


def test_a_worker_that_shares_nothing_is_told_so(home: Home, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no call .* set SPARRING_REMOTE"):
        read_call(home, None, "0" * 64)
    with pytest.raises(ConfigError, match=f"remote {tmp_path}/remote holds no call"):
        read_call(home, FolderRemote(tmp_path / "remote"), "0" * 64)
