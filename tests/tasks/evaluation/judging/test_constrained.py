"""A judge that is held to JSON: what the server is asked for, and that nothing else is read."""

from __future__ import annotations

import json

import pytest
from jsonschema import validate

from tasks.data.groups import Message
from tasks.evaluation.judging.config import JudgeConfig
from tasks.evaluation.judging.judge_questions import QUESTIONS
from tests.tasks.evaluation.judging.test_matchup import ENDPOINT


def held(question: str) -> JudgeConfig:
    return JudgeConfig.model_validate(
        {"endpoint": ENDPOINT, "question": question, "constrained": True}
    )


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_choice_of_every_question_is_in_the_schema_and_read(name: str) -> None:
    config = held(name)
    schema = config.parameters["response_format"]["json_schema"]["schema"]
    for choice, verdict in QUESTIONS[name].choices.items():
        answer = {"comparison": "A is kinder.", "choice": choice}
        validate(answer, schema)
        assert config.asked.read(json.dumps(answer)) == verdict
    (asked,) = config.asked.ask((Message("user", "Why?"),), "x", "y", "text-1", reference="gold")
    assert asked.content.endswith('"choice" is one of ' + ", ".join(
        f'"{choice}"' for choice in QUESTIONS[name].choices) + ".")  # fmt: skip


@pytest.mark.parametrize(
    "answer",
    [
        "Better: A",
        '{"choice": "A"}',
        '{"comparison": "no", "choice": "C"}',
        '{"comparison": "no", "choice": "A", "run": "this"}',
        '{"comparison": 1, "choice": "A"}',
        '{"comparison": "cut o',
        '{"comparison": "no", "choice": "A"} Better: B',
        "",
    ],
)
def test_what_is_not_the_schema_is_no_verdict(answer: str) -> None:
    assert held("helpful_harmless").asked.read(answer) is None


def test_a_free_judge_is_asked_for_no_form() -> None:
    free = JudgeConfig.model_validate({"endpoint": ENDPOINT})
    assert free.parameters == {"temperature": 0.0}
    assert free.asked == QUESTIONS["helpful_harmless"]
