"""docs/reference/metrics.md names every metric that a finished run has recorded, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.metrics import PAGE, pattern, recorded, told, untold
from tests.docs.pages import ROOT
from tests.flows.command import SMALL, Shell


def test_the_page_has_the_stages_that_there_are() -> None:
    stages = {path.stem for path in (ROOT / "tasks").glob("*.py")} - {"__init__"}
    assert set(told(PAGE)) == stages | {"run"}


def test_a_name_that_is_missing_is_found() -> None:
    found = {("update_policy", "grad_norm"), ("update_policy", "grad_norms")}
    assert list(untold(PAGE, found)) == ["update_policy: grad_norms"]


@pytest.mark.slow
def test_runs_of_both_flows_record_all_that_the_page_names(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell("run", "apo", "-c", str(SMALL))
    shell("run", "exo", "-c", str(SMALL.with_name("exo-small.yaml")))
    found = recorded(tmp_path / "mlruns")
    assert not list(untold(PAGE, found))
    # What a run of the playground has no use for.
    elsewhere = {"prepare_texts", "extract_prompts", "train_classifier", "decide_promotion"}
    elsewhere |= {"label_preferences", "pair_demonstrations", "diagnose_rewards"}
    elsewhere |= {"write_ava_report", "update_tqr", "ask_people", "judge_by_people", "pick_gold"}
    elsewhere |= {"judge_responses", "import_groups", "write_judge_report"}
    rare = {
        "dropped/SET/REASON",
        "loss/ranking",
        "loss/sft",
        "rewards/best",
        "win_rate/OPPONENT/JUDGE",
    }
    # Of a flow that offers no models.
    rare |= {"result/NAME"}
    # Of gold from a server, and of runs that pay.
    rare |= {"cost/PART/dollars", "cost/PART/tokens"}
    rare |= set("requests answered_before prompt_tokens completion_tokens dollars".split())
    # Of a TQR alone.
    figures = ("accuracy", "accuracy_se", "ties", "length_correlation")
    rare |= {f"SET/{one}_{name}" for one in ("last", "return", "logp") for name in figures}
    for stage, names in told(PAGE).items():
        for name in set(names) - rare if stage not in elsewhere else ():
            seen = [one for where, one in found if where == stage and pattern(name).fullmatch(one)]
            assert seen, f"{stage}: no run recorded {name}"
