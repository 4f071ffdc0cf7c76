"""Several ranks, with and without DeepSpeed: the same training, resumed to the same bits."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable
from typing import Any

import pytest

from tasks.processes.ports import free_port
from tasks.settings.errors import ConfigError
from tasks.training.config import TrainingConfig
from tasks.training.distributed.deepspeed_engine import deepspeed_settings
from tasks.training.distributed.opening import zero_stage
from tests.flows.warm_start import WARM

PARTS = ("none-last", "zero3-last", "none-lora", "zero3-lora")
HEADS = ("none-head", "zero2-head", "zero3-head")
MODES = ("none", "zero1", "zero2", "zero3", *PARTS, *HEADS)
LONG = {"zero1", "none-last", "zero3-last", "zero2-head"}
"""Modes of the slow tests; each has another beside it in the default suite."""
SAME = {
    **dict.fromkeys(("zero1", "zero2", "zero3"), "none"),
    **{"zero3-last": "none-last", "zero3-lora": "none-lora"},
    **dict.fromkeys(HEADS[1:], "none-head"),
}


def each(modes: Iterable[str]) -> pytest.MarkDecorator:
    """A test of every one of these modes."""
    slow = pytest.mark.slow
    marked = [pytest.param(mode, marks=[slow] if mode in LONG else []) for mode in modes]
    return pytest.mark.parametrize("mode", marked)


@pytest.fixture(scope="module")
def reports(tmp_path_factory, request) -> dict[str, Any]:
    """What two ranks report of the modes that tests look at."""
    here = [item for item in request.session.items if item.path == request.path]
    asked = {"none", *(i.callspec.params.get("mode") for i in here if hasattr(i, "callspec"))}
    modes = [mode for mode in MODES if mode in asked or mode in map(SAME.get, asked)]
    scratch = tmp_path_factory.mktemp("ranks")
    command = [WARM.python(), "-m", "tests.tasks.training.toy_ranks", str(scratch), *modes]
    # What torchrun tells its processes; these are forked and need not import everything again.
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    told |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    ranks = []
    for rank in map(str, range(2)):
        environment = os.environ | told | {"RANK": rank, "LOCAL_RANK": rank}
        with (scratch / f"{rank}.log").open("w") as log:
            ranks.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
    for number, rank in enumerate(ranks):
        assert rank.wait(timeout=400) == 0, (scratch / f"{number}.log").read_text()[-3000:]
    return json.loads((scratch / "report.json").read_text())


@each(MODES)
def test_a_signal_to_one_rank_stops_all_and_resume_is_exact(mode, reports):
    report = reports[mode]
    assert "stopped by SIGTERM, state saved at step 2 of 4" in report["stopped"]
    assert "step-00000002" in report["kept"]
    assert report["resumed"] == report["weights"]
    assert report["same_metrics"]


@each(MODES)
def test_a_bad_loss_of_one_rank_stops_all_and_names_its_batch(mode, reports):
    first, second = reports[mode]["spoiled"]
    assert first == second
    assert re.search(r"has the loss nan on the samples (many|few)\[\d\]", first)
    step = int(first.split("step ")[1].split()[0])
    assert reports[mode]["kept_when_spoiled"][-1] == f"step-{step - 1:08d}"


@each(SAME)
def test_every_mode_is_the_same_training(mode, reports):
    plain, report = reports[SAME[mode]], reports[mode]
    assert report["metrics"] == pytest.approx(plain["metrics"], rel=1e-4)
    assert report["values"].keys() == plain["values"].keys()
    for step, point in plain["points"].items():
        for name in ("loss", "grad_norm", "learning_rate", "padding_share"):
            assert report["points"][step][name] == pytest.approx(point[name], rel=1e-4)


@each(HEADS)
def test_a_head_learns_at_its_own_rate(mode, reports):
    """At 1e-1 beside 1e-2 it goes ten times as far as any other weight that moves at every step."""
    own, plain = (reports[name]["moved"]["score.weight"] for name in (mode, "none-head"))
    others = [by for name, by in reports[mode]["moved"].items() if name != "score.weight"]
    assert own > 5 * max(others) > 0
    assert own == pytest.approx(plain, rel=1e-2)


def test_a_step_of_fewer_rows_than_ranks_counts_each_once(reports):
    """A set has one row in two of the steps: one rank repeats it, and that is no gain."""
    metrics = reports["none"]["metrics"]
    assert metrics["samples_seen"] == 11
    assert 0 < metrics["padding_share"] < 0.5


def settings_of(tmp_path, **given) -> dict[str, Any]:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"zero_optimization": {"stage": 2}} | given))
    return deepspeed_settings(TrainingConfig(deepspeed=str(path), processes=3, nodes=2))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"optimizer": {"type": "Adam"}}, "sets 'optimizer'.*training.learning_rate"),
        ({"bf16": {"enabled": True}}, "sets 'bf16'.*training.precision"),
        ({"train_batch_size": 4}, "sets 'train_batch_size'.*training.batch_size"),
        ({"zero_optimization": {"stage": 0}}, "stage is 0, expected 1, 2 or 3"),
    ],
)
def test_what_is_ours_to_set_is_refused_by_name(given, words, tmp_path):
    with pytest.raises(ConfigError, match=words):
        settings_of(tmp_path, **given)


def test_a_file_of_the_users_is_completed(tmp_path):
    settings = settings_of(tmp_path, gradient_clipping="auto", wall_clock_breakdown=True)
    assert settings["train_batch_size"] == 6 and settings["gradient_clipping"] == 1.0
    assert settings["wall_clock_breakdown"] is True
    assert "bf16" not in settings and "optimizer" not in settings


def test_an_unknown_name_is_refused():
    with pytest.raises(ConfigError, match="'zero4', which is none of zero1, zero2"):
        deepspeed_settings(TrainingConfig(deepspeed="zero4"))


def test_stages_by_name():
    names = (None, "zero1", "zero2", "zero3", "zero3-offload")
    assert [zero_stage(TrainingConfig(deepspeed=name)) for name in names] == [0, 1, 2, 3, 3]
