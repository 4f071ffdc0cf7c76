"""What refuses a rehearsal at once, what is kept of one, and how its answer is read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from flows.configs.branches.exo_sweep import SweepConfig
from flows.registry import PROMOTION, find_flow, read_config
from flows.rehearsal.answer import rehearsal_json, show_rehearsal
from flows.rehearsal.branches import without_branch
from flows.rehearsal.machines import Machine, named_machine
from flows.rehearsal.performance import Failure, Performance, environment
from flows.rehearsal.rehearsal import Options, Rehearsal, Watcher, rehearse
from flows.rehearsal.work import Need, Work
from flows.shrinking import models
from tasks.models.sizes.footprint import Footprint
from tasks.settings.errors import ConfigError
from tasks.settings.loading import load_config, validate
from tasks.stages.artifact import Artifact
from tasks.stages.runs.context import StageRecord

QUIET = Console(quiet=True)
SMALL = Path(__file__).parents[1] / "configs" / "exo-small.yaml"
SPEC = SimpleNamespace(name="write_apo_report", resources="cpu")
MACHINE = Machine("a machine", 10e9, 1e12, 1e9, bf16=True)


def config(*overrides: str) -> object:
    return read_config(find_flow("exo"), Path("exo-pairs.yaml"), overrides)


def test_a_hub_name_without_network_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PAIRS", "pairs.jsonl")
    monkeypatch.chdir(tmp_path)
    asked = config("data.preferences=[{hub: some/set}]")
    with pytest.raises(ConfigError, match="some/set.*network"):
        rehearse(find_flow("exo"), asked, Options(), QUIET)
    assert not any(tmp_path.iterdir())


def test_a_rehearsal_without_room_for_its_model_writes_nothing(
    workplace: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    workplace("llama-2-7b")
    gone = type("Memory", (), {"available": 1000})
    monkeypatch.setattr(models.psutil, "virtual_memory", lambda: gone)
    asked = read_config(find_flow("apo"), Path("apo-hh.yaml"), [])
    kept = tmp_path / "kept"
    with pytest.raises(ConfigError, match="2 layers of width 64 needs about .* GB of memory"):
        rehearse(find_flow("apo"), asked, Options(folder=kept), QUIET)
    assert not list(kept.rglob("*.safetensors"))


def test_what_cannot_be_rehearsed_is_refused() -> None:
    with pytest.raises(ConfigError, match="trains nothing"):
        rehearse(PROMOTION, object(), Options(), QUIET)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="did you mean 'h100'"):
        named_machine("h10")


def test_a_gpu_has_what_is_said_of_it_or_what_is_left() -> None:
    assert named_machine("h100").memory == pytest.approx(76e9)
    assert named_machine("h100:60").memory == 60e9
    assert named_machine("h100").flops > named_machine("a100-80").flops


def test_a_folder_that_holds_something_is_left_alone(
    workplace: Callable[[str], Path],
) -> None:
    folder = workplace("llama-2-7b")
    asked = config()
    with pytest.raises(ConfigError, match="is not empty"):
        rehearse(find_flow("exo"), asked, Options(folder=folder), QUIET)


def test_variables_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARRING_REMOTE", "before")
    monkeypatch.delenv("SPARRING_HOME", raising=False)
    with environment({"SPARRING_REMOTE": None, "SPARRING_HOME": "x"}):
        assert "SPARRING_REMOTE" not in os.environ and os.environ["SPARRING_HOME"] == "x"
    assert os.environ["SPARRING_REMOTE"] == "before" and "SPARRING_HOME" not in os.environ


def test_one_branch_is_left_out_and_the_others_stay() -> None:
    flow = find_flow("exo")
    whole = validate(flow.config_class(), load_config(SMALL), "")
    labels = [one.label(whole.temperature) for one in whole.all_branches()]
    for place, label in enumerate(labels):
        left = without_branch(whole, f"{label} 1/2")
        others = labels[:place] + labels[place + 1 :]
        assert [one.label(whole.temperature) for one in left.all_branches()] == others
    assert without_branch(whole, "train τ1 K4") is None, "all branches share it"
    one = whole.model_copy(update={"branches": [SweepConfig(method="sft")]})
    assert without_branch(type(whole).model_validate(one.model_dump()), "SFT on chosen s0") is None


def rehearsal(**changes: object) -> Rehearsal:
    ppo = {"actor": Footprint(9e9), "critic": Footprint(2e9)}
    needs = [
        Need("update_policy · SFT", "gpu", {"model": Footprint(4e9, 2e9)}, 2, 3600, 1e9, 2e9),
        Need("update_policy_by_ppo · ppo", "gpu", ppo),
    ]
    found = Rehearsal(Performance([], [], [], None), needs, MACHINE, True, 5e9, [])
    return found._replace(**changes)


def test_what_does_not_fit_is_a_failure() -> None:
    """11 GB on a machine of 10; the SFT's 6 fit. 1 GB to stay and 2 for checkpoints fit into 5."""
    (failure,) = rehearsal().failures
    assert failure.where == "update_policy_by_ppo · ppo"
    assert "needs 11 GB and a machine has 10 GB" in failure.why
    assert not rehearsal(is_judged=False).failures
    crowded = rehearsal(is_judged=False, disk=2e9)
    assert [one.where for one in crowded.failures] == ["disk"]


def test_hours_dollars_and_bytes_are_sums() -> None:
    """One hour on two processes, and a stage whose time is not known."""
    found = rehearsal()
    assert (found.hours, found.device_hours) == (1, 2)
    assert (found.stored, found.working) == (1e9, 2e9)
    told = rehearsal_json(found, 3.0)
    assert told["dollars"] == 6.0 and told["paid_calls"] == 0
    assert told["needs"][0]["memory"] == {"model": {"weights": 4e9, "gradients": 2e9}}


def test_what_a_stage_takes_beside_its_arithmetic_counts() -> None:
    """Of 1.6 s of arithmetic nobody learns what a run of minutes takes; the rehearsal knows it."""
    needs = [
        Need("update_policy · SFT", "gpu", {"model": Footprint(1e9)}, 2, 1.6, overhead=100),
        Need("prepare_data", "cpu", {}, overhead=20),
    ]
    ran = [StageRecord("prepare_data", "", "k", "completed", seconds=20.0)]
    found = rehearsal(needs=needs, performance=Performance(ran * 6, [], [], None))
    assert found.hours == pytest.approx(121.6 / 3600)
    assert found.device_hours == pytest.approx(203.2 / 3600), "preparing data needs no device"
    console = Console(record=True, width=200)
    show_rehearsal(found, console, None)
    text = console.export_text()
    assert "about 2 min 02 s, stage after stage: 1.6 s of arithmetic" in text
    assert "2 min 00 s beside it" in text and "at most" not in text
    assert "rehearsing took 2 min 00 s: so small a run costs about as much" in text


def test_a_stage_that_was_not_rehearsed_takes_what_its_like_did() -> None:
    """Labels of the real run's later epochs are not all in the small one."""
    calls = [
        SimpleNamespace(title=f"write_apo_report · {label}", arguments={}, inputs={}, spec=SPEC)
        for label in ("a", "b", "later")
    ]
    ran = [
        StageRecord("write_apo_report", label, label, "completed", seconds=seconds)
        for label, seconds in (("a", 1.0), ("b", 3.0))
    ]
    work = Work(calls, None, None, ran, MACHINE)  # type: ignore[arg-type]
    assert [one.overhead for one in work.needs()] == [1.0, 3.0, 2.0]


def test_the_page_says_what_failed_and_what_is_needed() -> None:
    failed = Performance([], [Failure("prepare_data", "no such file")], ["evaluate"], None)
    console = Console(record=True, width=200)
    show_rehearsal(rehearsal(performance=failed), console, 3.0)
    text = console.export_text()
    for words in (
        "actor 9, critic 2",
        "weights 4, gradients 2",
        "a machine has 10 GB for a process",
        "time: about 1 h 00 min, stage after stage: 1 h 00 min of arithmetic on a machine, 0.0 s",
        "; 2 h 00 min of one device",
        "bill: about 6 dollars",
        "6 dollars of devices at 3 an hour; no paid calls",
        "0 stages rehearsed, 1 not reached",
        "✗ prepare_data: no such file",
    ):
        assert words in text, words
    assert "at most" not in text and "rehearsing took" not in text


def test_what_a_report_finds_of_random_models_is_not_said() -> None:
    console = Console(record=True, width=100)
    watcher = Watcher(console)
    watcher.note("write_apo_report · report", "APO-DPO-v1 is not shown to have moved")
    watcher.note("examine_data", "data: 8 records read, none left out")
    made = Artifact("0.dir", Path("report"), "write_apo_report", "k", "report")
    show_rehearsal(rehearsal(performance=Performance([], [], [], made)), console, None)
    text = console.export_text()
    assert "is not shown to have moved" not in text and "8 records read" in text
    assert "of random models it says nothing" in text
