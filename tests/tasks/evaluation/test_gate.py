"""The gate: metrics worked out by hand against its criteria."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.evaluation.config import GateCheck, GateConfig
from tasks.evaluation.gate import criteria_of, decide
from tasks.settings.errors import ConfigError
from tasks.storage.files import read_json, write_json, write_lines


def evaluation(folder: Path, scores: list[list[float]], **more: Any) -> Path:
    prompts = {f"p{n}": {"scores": {"RM_Test": row}} for n, row in enumerate(scores)}
    write_json(folder / "evaluation.json", {"per_prompt": prompts, **more})
    return folder


def check(**gate: Any) -> GateCheck:
    return GateCheck(gate=GateConfig(**gate), opponent="champion", bootstrap_samples=200)


def judged(
    tmp_path: Path,
    mine: list[list[float]],
    theirs: list[list[float]],
    right: float = 0.8,
    **gate: Any,
) -> Any:
    kl = {"value": 2.0, "standard_error": 0.1, "count": 4}
    ours = evaluation(tmp_path / "ours", mine, kl=kl)
    others = evaluation(tmp_path / "theirs", theirs)
    write_json(tmp_path / "rm" / "evaluation.json", {"test": {"figures": {"ece": 0.08}}})
    folders = (ours, others, tmp_path / "rm", measured(tmp_path / "judge", right))
    return decide(*folders, None, check(**gate), 0, tmp_path / "out")


def measured(folder: Path, right: float, pairs: int = 100) -> Path:
    """Evaluation of a judge that is right on this share of its pairs; 60 % of them are longer."""
    error = (right * (1 - right) / pairs) ** 0.5
    figures = {"accuracy": right, "accuracy_se": error, "accuracy_pairs": pairs, "longer_wins": 0.6}
    write_json(folder / "evaluation.json", {"test": {"figures": figures}})
    return folder


def test_ties_count_half(tmp_path: Path) -> None:
    """Won, lost, tied, won: (1 + 0 + ½ + 1) / 4 = 0.625."""
    metrics = judged(tmp_path, [[2.0], [0.0], [1.0], [3.0]], [[1.0], [1.0], [1.0], [1.0]])
    assert metrics["win_rate"] == pytest.approx(0.625)
    assert metrics["win_rate_low"] < 0.5 < metrics["win_rate_high"]
    assert (metrics["holds"], metrics["prompts"], metrics["ece"]) == (0.0, 4.0, 0.08)


def test_one_that_knows_the_number_needs_no_reward_model(tmp_path: Path) -> None:
    folders = []
    for name, right in (("ours", 1.0), ("theirs", 0.0)):
        rows = {f"p{n}": {"scores": {"exact_match": [right]}} for n in range(4)}
        write_json(tmp_path / name / "evaluation.json", {"per_prompt": rows})
        folders.append(tmp_path / name)
    asked = {"tester": "exact_match"}
    found = decide(*folders, None, None, None, check(**asked), 0, tmp_path / "out")
    assert found["holds"] == 1 and "ece" not in found
    decide(*folders, None, None, None, check(**asked, max_ece=0.1), 0, tmp_path / "out")
    rows = {one["name"]: one for one in read_json(tmp_path / "out/report.json")["criteria"]}
    assert rows["accuracy of exact_match on held-out pairs"]["figure"] == "the right number"
    assert rows["calibration error of the reward model"]["holds"] is False


def test_the_champion_does_not_beat_itself(tmp_path: Path) -> None:
    same = [[float(n)] for n in range(20)]
    metrics = judged(tmp_path, same, same)
    assert metrics["win_rate_low"] < metrics["win_rate"] == 0.5, "20 ties tell little of the next"
    assert metrics["holds"] == 0.0


def test_all_criteria_must_hold_and_the_evidence_says_which_does_not(tmp_path: Path) -> None:
    better, worse = [[2.0]] * 20, [[1.0]] * 20
    assert judged(tmp_path, better, worse)["holds"] == 1.0
    assert judged(tmp_path, better, worse, max_ece=0.1, max_kl=2.5)["holds"] == 1.0
    assert judged(tmp_path, better, worse, max_ece=0.05)["holds"] == 0.0
    assert judged(tmp_path, better, worse, max_kl=1.5)["holds"] == 0.0
    evidence = read_json(tmp_path / "out" / "report.json")
    assert [one["holds"] for one in evidence["criteria"]] == [True, True, None, False]
    text = (tmp_path / "out" / "report.md").read_text()
    assert "# The gate refuses" in text and "| 2.000 ± 0.100 | at most 1.5 | refused |" in text


def test_a_judge_at_chance_promotes_nobody(tmp_path: Path) -> None:
    """55 of 100: by Wilson 45.2 % to 64.4 %, so a coin may be as good."""
    better, worse = [[2.0]] * 20, [[1.0]] * 20
    metrics = judged(tmp_path, better, worse, right=0.55)
    assert metrics["win_rate"] == 1.0 and metrics["holds"] == 0.0
    found = [metrics[f"judge_accuracy{end}"] for end in ("", "_low", "_high", "_pairs")]
    assert found == pytest.approx([0.55, 0.452, 0.644, 100], abs=5e-4)
    evidence = read_json(tmp_path / "out" / "report.json")
    assert evidence["criteria"][1]["name"] == "accuracy of RM_Test on held-out pairs"
    note = evidence["tables"]["criteria"]["note"]
    assert "RM_Test is not shown to judge better than a coin: right on 55.0% of 100" in note
    assert "gate.min_judge_accuracy=null" in note
    assert judged(tmp_path, better, worse, right=0.55, min_judge_accuracy=None)["holds"] == 1.0
    # Better than a coin, but length knows as much: said, and refused where that is asked.
    assert judged(tmp_path, better, worse, right=0.65)["holds"] == 1.0
    note = read_json(tmp_path / "out" / "report.json")["tables"]["criteria"]["note"]
    assert "RM_Test is not shown to know more than length" in note
    # What to do about the judge is advised where it is what the gate refuses.
    assert "gate.min_judge_accuracy" not in note
    assert judged(tmp_path, better, worse, right=0.65, min_judge_accuracy=0.6)["holds"] == 0.0
    assert judged(tmp_path, better, worse)["holds"] == 1.0
    assert "not shown" not in (tmp_path / "out" / "report.md").read_text()


def test_an_oracle_needs_no_pairs() -> None:
    metrics = {"win_rate": 0.9, "win_rate_low": 0.8, "win_rate_high": 1.0, "ece": 0.1}
    oracle, model = (criteria_of(metrics, check(tester=one))[1] for one in ("oracle", "RM_Test"))
    assert (oracle.holds, oracle.found) == (None, "the true reward")
    assert (model.holds, model.found) == (False, "not measured")


def test_what_was_not_measured_does_not_hold() -> None:
    metrics = {"win_rate": 0.9, "win_rate_low": 0.8, "win_rate_high": 1.0, "ece": 0.1}
    kl = criteria_of(metrics, check(max_kl=3.0))[-1]
    assert kl.holds is False and kl.found == "not measured"
    assert criteria_of(metrics, check(min_win_rate=None))[0].holds is None


def test_a_judge_who_scored_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no prompt in common that oracle scored"):
        judged(tmp_path, [[1.0]], [[1.0]], tester="oracle")


def test_a_language_models_verdicts_are_asked_for_with_figures(tmp_path: Path) -> None:
    """Nine wins and a tie: 9.5 of 10; two of ten flipped. Without a verdict nothing holds."""
    ours = evaluation(tmp_path / "ours", [[2.0]] * 4)
    others = evaluation(tmp_path / "theirs", [[1.0]] * 4)
    verdicts = tmp_path / "verdicts"
    lines = [{"outcome": one} for one in ["win"] * 9 + ["tie", "invalid"]]
    write_lines(verdicts / "verdicts.jsonl", map(json.dumps, lines))
    rates = {"no_verdict": "", "flipped": {"value": 0.2}}
    write_json(verdicts / "verdicts.json", rates)

    def rows(**gate: Any) -> dict[str, Any]:
        asked = check(min_judge_accuracy=None, **gate)
        decide(ours, others, None, None, verdicts, asked, 0, tmp_path / "out")
        found = read_json(tmp_path / "out/report.json")["criteria"]
        return {one["name"]: one for one in found}

    found = rows(min_judged_win_rate=0.5, max_flipped=0.1)
    won = found["win rate against champion, by the judge"]
    assert won["holds"] and won["figure"].startswith("0.950 [")
    flipped = found["verdicts that flip with the order"]
    assert not flipped["holds"] and (flipped["figure"], flipped["asked"]) == (
        "0.200",
        "at most 0.1",
    )
    write_json(verdicts / "verdicts.json", {**rates, "no_verdict": "too few"})
    none = rows(min_judged_win_rate=0.5)["win rate against champion, by the judge"]
    assert none["figure"] == "not measured" and not none["holds"]
