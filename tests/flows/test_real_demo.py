"""The demo on real text with the real model, as `make demo-real` runs it: a quarter of an hour."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flows.registry import CONFIGS
from tasks.stages.manifest import list_manifests
from tasks.storage.files import read_json
from tests.flows.command import Shell

COMMON = set("the a of to and in is that it for you i with are this as on be not can your".split())


@pytest.mark.slow
def test_the_policy_moves_and_its_answers_read_as_english(
    fresh: Shell, real_model: Path, real_data: Path
) -> None:
    (fresh.folder / "models").mkdir()
    (fresh.folder / "models" / real_model.name).symlink_to(real_model)
    fresh.variables["PAIRS"] = str(real_data / "hh" / "pairs.train.jsonl.gz")
    fresh("run", "apo", "-c", str(CONFIGS / "apo-smollm2.yaml"))
    (made,) = list_manifests(fresh.home, "write_apo_report")
    report = (made.folder(fresh.home) / "report.md").read_text()
    assert "APO-DPO-v1 has moved: KL to the start" in report
    verdict = (
        "knows more than length|is not shown to (know more than length|judge better than a coin)"
    )
    assert re.search(rf"RM_Test ({verdict}): right on", report)
    assert "not shown: whether people would prefer the answers" in report
    measured = list_manifests(fresh.home, "evaluate_policy")
    (last,) = [one for one in measured if one.label == "APO-DPO-v1"]
    examples = read_json(last.folder(fresh.home) / "evaluation.json")["examples"]
    words = re.findall(r"[a-z']+", " ".join(one["response"] for one in examples).lower())
    # Of English prose it is about three words in ten; of noise or a loop almost none, or all.
    assert 0.15 < sum(word in COMMON for word in words) / len(words) < 0.5
