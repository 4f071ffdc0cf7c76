"""Which number an answer comes to, however it is written, and who is right."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from tasks.data.files import write_groups
from tasks.data.groups import Group, Message
from tasks.models.scoring.config import ScoringConfig
from tasks.models.scoring.final_numbers import FinalNumberScorer, final_number
from tasks.models.scoring.scorers import open_scorer
from tasks.settings.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Half of 36 is <<36/2=18>>18.\n#### 18", "18"),
        ("#### 18\nSo it takes 2 days.", "18"),
        ("#### 1\n#### 5 of 6", "5"),
        ("The answer is 18.", "18"),
        ("18.00", "18"),
        ("It is 0.5 or .25", "0.25"),
        ("In all $1,234,567.89!", "1234567.89"),
        ("#### 1,000", "1000"),
        ("among 1,2,3", "3"),
        ("12,34", "34"),
        ("1,2345", "2345"),
        ("#### -7", "-7"),
        ("#### −7", "-7"),
        ("a loss of -$12", "-12"),
        ("a loss of $-12", "-12"),
        ("+3 degrees", "3"),
        ("10-4", "4"),
        ("(10)-4", "4"),
        ("20 - 5", "5"),
        ("18$", "18"),
        ("£ 30 each", "30"),
        ("it is €30", "30"),
        ("25%", "25"),
        (r"$\boxed{42}$", "42"),
        ("**72** clips", "72"),
        ("3.", "3"),
        ("7dogs", "7"),
        ("#### ", None),
        ("nobody knows", None),
        ("", None),
    ],
)
def test_the_number_of_a_text(text: str, number: str | None) -> None:
    assert final_number(text) == (None if number is None else Decimal(number))


def group(*responses: str, question: str = "How many?") -> Group:
    return Group((Message("user", question),), responses)


@pytest.fixture
def references(tmp_path: Path) -> Path:
    rows = [group("6 of them.\n#### 1,006", "the worse one, 5"), group("#### 0.50", question="Q")]
    write_groups(tmp_path / "references", rows)
    return tmp_path / "references"


def test_an_answer_is_right_by_its_number_alone(references: Path) -> None:
    scorer = open_scorer(references, ScoringConfig())
    assert isinstance(scorer, FinalNumberScorer)
    asked = [group("1006", "It is 1006.0 apples", "1006 or 7", "?"), group(".5", question="Q")]
    assert scorer.score(asked) == [[1.0, 1.0, 0.0, 0.0], [1.0]]


def test_what_cannot_be_compared_is_named(references: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no reference answer to .*Whose"):
        FinalNumberScorer(references).score([group("1", question="Whose?")])
    write_groups(tmp_path / "words", [group("as many as you like")])
    with pytest.raises(ConfigError, match="How many.*has no number"):
        FinalNumberScorer(tmp_path / "words")


@pytest.mark.real
def test_every_solution_of_gsm8k_comes_to_its_final_number(real_data: Path) -> None:
    import gzip
    import json

    rows = gzip.open(real_data / "gsm8k/train.jsonl.gz", "rt").readlines()
    found = [json.loads(row) for row in rows]
    wrong = [
        row
        for row in found
        if final_number(row["answer"]) != Decimal(row["final"].replace(",", ""))
    ]
    assert len(found) == 3000 and not wrong
