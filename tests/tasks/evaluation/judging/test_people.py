"""People's verdicts: the drawn order is undone, the majority counts, and κ says how they agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tasks.data.files import write_groups
from tasks.data.groups import Group, Message
from tasks.evaluation.judging.human_config import BY_PEOPLE, HumanEvaluationConfig
from tasks.evaluation.judging.people import judgement_of, shown
from tasks.evaluation.judging.verdict_table import Verdicts
from tasks.evaluation.judging.verdicts import Pair
from tasks.gold.people.batch import batch_names
from tasks.gold.people.question import Question
from tasks.judge_by_people import judge_by_people
from tasks.stages.artifact import Artifact, external_artifact
from tasks.stages.runs.context import RunContext, entered
from tasks.storage.home import Home

PAIR = Pair((Message("user", "What is tea?"),), "ours", "theirs")


def test_the_order_is_drawn_by_the_seed_and_tells_nothing_of_the_sides() -> None:
    drawn = [shown(str(number), PAIR, seed=1) for number in range(200)]
    assert [one.is_swapped for one in drawn] == [
        shown(str(number), PAIR, seed=1).is_swapped for number in range(200)
    ]
    assert 70 < sum(one.is_swapped for one in drawn) < 130, "a fair coin of 200"
    for one in drawn:
        sides = ("theirs", "ours") if one.is_swapped else ("ours", "theirs")
        assert (one.question.a, one.question.b) == sides
    assert len({one.question.id for one in drawn}) == 200
    assert any(shown(str(n), PAIR, seed=2).is_swapped != drawn[n].is_swapped for n in range(20))


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ("A", "win"),
        ("AAB", "win"),
        ("ABB", "lose"),
        ("AB", "tie"),
        ("At", "tie"),
        ("ABt", "tie"),
        ("tt", "tie"),
        ("", "invalid"),
    ],
)
def test_more_than_half_decide_whatever_the_order(said: str, outcome: str) -> None:
    words = {"A": "A", "B": "B", "t": "tie"}
    other = {"A": "B", "B": "A", "tie": "tie"}
    given = {f"person {n}": words[sign] for n, sign in enumerate(said)}
    one = shown("p", PAIR, seed=0)
    straight = one._replace(is_swapped=False)
    swapped = one._replace(is_swapped=True)
    assert judgement_of(straight, given).outcome == outcome
    mirrored = {who: other[choice] for who, choice in given.items()}
    assert judgement_of(swapped, mirrored).outcome == outcome
    assert not judgement_of(straight, given).flipped
    assert judgement_of(straight, given).split == (said in ("AB", "At", "ABt"))


@pytest.fixture
def sides(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Artifact]:
    """Three prompts that both sides answered, one of them with the same text."""
    monkeypatch.chdir(tmp_path)
    for side in ("ours", "theirs"):
        answers = [f"{side} is a long answer", f"{side}", "the same"]
        write_groups(
            tmp_path / side,
            [Group((Message("user", f"Why {n}?"),), (text,)) for n, text in enumerate(answers)],
        )
    return [external_artifact(tmp_path / side) for side in ("ours", "theirs")]


def test_a_match_waits_for_its_people_and_comes_to_the_judges_records(
    home: Home, sides: list[Artifact]
) -> None:
    """Anna says ours twice, Ben ours and a tie: one win, one tie, one tie of equal texts."""
    config = HumanEvaluationConfig(quorum=2)

    def run() -> tuple[Artifact, str]:
        context = RunContext(home, "run-1")
        with entered(context):
            found = judge_by_people(
                *sides, None, {}, {}, config=config, match="APO vs start", seed=3
            )
        return found, "".join(one.error for one in context.awaits)

    found, why = run()
    assert found.is_pending and "4 answers are missing to 2 of 2 questions, 2 people each" in why
    (name,) = batch_names(home)
    assert name.startswith("apo-vs-start-")
    place = Path("people", name)
    questions = [json.loads(line) for line in (place / "questions.jsonl").read_text().splitlines()]
    assert all("ours" in one["a"] + one["b"] and "verdict" in one for one in questions)

    def verdict(one: dict[str, Any], better: str) -> str:
        return "A" if one["a"].startswith(better) else "B"

    first, second = questions
    said = {
        "anna": {first["id"]: verdict(first, "ours"), second["id"]: verdict(second, "ours")},
        "ben": {first["id"]: verdict(first, "ours"), second["id"]: "tie"},
    }
    for person, verdicts in said.items():
        lines = [json.dumps({"id": one, "verdict": what}) for one, what in verdicts.items()]
        (place / "answers" / f"{person}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    found, why = run()
    assert not why
    assert {name: found.metrics[name] for name in ("asked", "valid", "people", "lose")} == {
        "asked": 3,
        "valid": 3,
        "people": 2,
        "lose": 0,
    }
    assert found.metrics["win"] == pytest.approx(1 / 3)
    # Agreement 1/2; chance 1 · 1/2: κ = 0.
    assert found.metrics["kappa"] == pytest.approx(0.0)
    records = [json.loads(one) for one in (found.path / "verdicts.jsonl").read_text().splitlines()]
    votes = {one["prompt"]: one.get("votes") for one in records}
    assert {"anna": "win", "ben": "win"} in votes.values() and None in votes.values()

    verdicts = Verdicts.read({"APO vs start" + BY_PEOPLE: found.path})
    (table,) = verdicts.tables
    assert table.key == "people" and table.rows[0][:2] == ("APO vs start", "3 of 3")
    assert verdicts.shares("APO", "start")["people"]["tie"] == pytest.approx(2 / 3)
    assert verdicts.by_people and found.metrics["split"] == pytest.approx(1 / 3)
    assert table.columns[5].name == "Split (%)" and table.rows[0][5] == pytest.approx(100 / 3)
    assert (
        "APO vs start by people: wins 33%, ties 67% (33% split), loses 0% of 3 prompts"
        in "".join(verdicts.findings)
    )


def test_the_judge_is_held_against_people(
    home: Home, sides: list[Artifact], tmp_path: Path
) -> None:
    def folder(name: str, *outcomes: str) -> Path:
        (tmp_path / name).mkdir()
        lines = [json.dumps({"id": str(n), "outcome": one}) for n, one in enumerate(outcomes)]
        (tmp_path / name / "verdicts.jsonl").write_text("\n".join(lines))
        return tmp_path / name

    from tasks.evaluation.judging.people_table import agreement_with_judge

    people = folder("people", "win", "lose", "tie", "win", "invalid")
    judge = folder("judge", "win", "lose", "lose", "invalid", "win")
    # 2 of 3; chance 1/3 · 1/3 + 1/3 · 2/3 = 1/3: κ = (2/3 − 1/3) / (2/3) = 0.5.
    assert agreement_with_judge(people, judge) == "67 % of 3, κ = 0.50"
    assert agreement_with_judge(people, folder("none", "invalid")) == ""


def test_five_criteria_stand_beside_a_question_with_a_reference() -> None:
    config = HumanEvaluationConfig(question="instruction")
    assert config.wants_reference
    for word in ("adherence to the instruction", "correctness", "fluency", "safety", "helpfulness"):
        assert word in config.told
    assert Question("q", "p", "a", "b", "gold").reference == "gold"
    with pytest.raises(ValidationError, match="shows as the golden ones: leave it out"):
        HumanEvaluationConfig(question="instruction", opponents=("start", "chosen"))
