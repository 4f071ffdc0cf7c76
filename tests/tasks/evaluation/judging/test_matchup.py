"""Who is paired, what is asked of the judge, and what is written of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.data.files import write_groups
from tasks.data.groups import Group, Message
from tasks.endpoints.accounts import NOBODY
from tasks.endpoints.answers import Answer, Outcome
from tasks.endpoints.chat_request import ChatRequest, Unanswered
from tasks.evaluation.judging.config import JudgeConfig
from tasks.evaluation.judging.matchup import (
    RATES,
    VERDICTS,
    judge_pairs,
    judge_requests,
    judge_sides,
    write_matchup,
)
from tasks.evaluation.judging.pairing import Sides, matched_pairs, read_sides, require_references
from tasks.evaluation.judging.verdict_table import (
    verdict_examples,
    verdict_findings,
    verdict_table,
)
from tasks.settings.errors import ConfigError
from tasks.settings.log import NullLog
from tasks.storage.workspace import Workspace
from tests.servers.paid_server import Body, PaidServer, chat_answer, said

ENDPOINT = {
    "url": "http://127.0.0.1:1/v1", "model": "m", "price": {"prompt": 0, "completion": 0}
}  # fmt: skip


def config(**given: Any) -> JudgeConfig:
    return JudgeConfig.model_validate({"endpoint": ENDPOINT, "question": "dialogue", **given})


def side(*answers: str, first: int = 0) -> list[Group]:
    return [
        Group((Message("user", f"question {number}?"),), (text, "never looked at"))
        for number, text in enumerate(answers, start=first)
    ]


class Judge:
    """Stands for `PaidCalls`: prefers the longer answer, whatever the order."""

    def __init__(self, silent: str = "") -> None:
        self.asked: list[ChatRequest] = []
        self._silent = silent

    def ask(
        self, requests: Iterable[ChatRequest]
    ) -> Iterator[tuple[ChatRequest, Answer | Unanswered]]:
        for request in reversed(list(requests)):
            self.asked.append(request)
            text = request.messages[0][1]
            if self._silent and self._silent in text:
                yield request, Unanswered(Outcome.truncated, "cut off", "")
                continue
            shown = text.split("Response A:")[1].split("FIRST")[0].split("Response B:")
            better = "A" if len(shown[0]) > len(shown[1]) else "B"
            yield request, Answer(f"Comparison: longer.\nMore helpful: {better}", "stop", 1, 1)


def test_both_orders_are_asked_of_the_prompts_that_both_sides_answered() -> None:
    pairs = matched_pairs(
        side("long answer", "no", "same", "alone"), side("no", "long one", "same"), 9
    )
    assert [pair.ours for pair in pairs.values()] == ["long answer", "no", "same"]
    judge = Judge()
    found = list(judge_pairs(pairs, config(), judge, NullLog()))  # type: ignore[arg-type]
    assert [one.judgement.outcome for one in found] == ["win", "lose", "tie"]
    assert len(judge.asked) == 4, "nobody is asked about equal texts"
    assert {request.parameters["temperature"] for request in judge.asked} == {0.0}
    assert found[2].answers == (None, None)


def test_without_an_opponent_the_two_responses_of_a_pair_meet(tmp_path: Path) -> None:
    write_groups(tmp_path, side("chosen", "also chosen"))
    pairs = read_sides(Sides(tmp_path), None)
    assert [(pair.ours, pair.theirs) for pair in pairs.values()] == [
        ("chosen", "never looked at"), ("also chosen", "never looked at"),
    ]  # fmt: skip


def test_a_sample_of_prompts_is_the_same_whoever_plays() -> None:
    ours, theirs = side(*"abcdefgh"), side(*"ABCDEFGH")
    few = matched_pairs(ours, theirs, 3)
    assert set(few) == set(matched_pairs(side(*"stuvwxyz"), theirs, 3)) and len(few) == 3


def test_sides_without_a_prompt_in_common_are_refused() -> None:
    with pytest.raises(ConfigError, match="answered no prompt in common"):
        matched_pairs(side("a"), side("b", first=7), None)


def test_a_question_with_a_reference_wants_one_of_every_prompt() -> None:
    pairs = matched_pairs(side("a", "b"), side("c", "d"), None, references=side("gold"))
    with pytest.raises(ConfigError, match="1 of 2 prompts have none"):
        list(judge_pairs(pairs, config(question="instruction"), Judge(), NullLog()))  # type: ignore[arg-type]


def test_a_question_shows_no_side_as_its_reference() -> None:
    pairs = matched_pairs(
        side("gold", "mine"), side("c", "gold too"), None, side("gold", "gold too")
    )
    require_references(pairs, "instruction")
    for ours, theirs in ((("gold", "it"), ("c", "d")), (("c", "d"), ("gold", "it"))):
        pairs = matched_pairs(side(*ours), side(*theirs), None, side("gold", "it"))
        with pytest.raises(ConfigError, match="the answers of one side are these references"):
            list(judge_requests(pairs, config(question="instruction")))


def test_what_was_said_is_written_and_shown(tmp_path: Path) -> None:
    pairs = matched_pairs(side("a long answer", "no"), side("short", "lost on the way"), None)
    judge = Judge(silent="lost")
    judged = list(judge_pairs(pairs, config(), judge, NullLog()))  # type: ignore[arg-type]
    assert [one.judgement.outcome for one in judged] == ["win", "invalid"]
    assert write_matchup(judged, tmp_path, seed=0).rates.valid == 1
    lines = [json.loads(line) for line in (tmp_path / VERDICTS).read_text().splitlines()]
    assert lines[0]["said"] == ["A", "B"] and lines[1]["problems"] == ["cut off", "cut off"]
    rates = json.loads((tmp_path / RATES).read_text())
    assert (rates["rates"]["win"], rates["asked"], rates["no_verdict"]) == (1.0, 2, "")
    table = verdict_table({"mine vs start": rates})
    assert table.rows[0][:3] == ("mine vs start", "1 of 2", "100.0 (20.7 to 100.0)")
    assert list(verdict_findings({"mine vs start": rates})) == [
        "mine vs start by the judge: wins 100%, ties 0%, loses 0% of 1 prompts, 0% flipped with "
        "the order: undecided"
    ]
    (said,) = verdict_findings({"chosen vs rejected": rates})
    assert said == (
        "the judge agrees with people on 100% of 1 test pairs (95 %: 21% to 100%; a tie is no "
        "agreement), and length alone on 100%"
    )
    assert verdict_examples({"chosen vs rejected": tmp_path}) == []
    (shown,) = verdict_examples({"mine vs start": tmp_path})
    assert shown.outputs["mine"] == "a long answer" and shown.outputs["verdict"] == "win"
    assert "More helpful: A" in shown.outputs["judge, mine first"]


def test_too_few_in_form_are_no_verdict(tmp_path: Path) -> None:
    pairs = matched_pairs(side("lost", "lost"), side("a", "b"), None)
    judge = Judge(silent="lost")
    judged = list(judge_pairs(pairs, config(), judge, NullLog()))  # type: ignore[arg-type]
    write_matchup(judged, tmp_path, seed=0)
    rates = json.loads((tmp_path / RATES).read_text())
    assert verdict_table({"a vs b": rates}).rows[0][2] == "no verdict"
    assert "only 0 of 2 pairs" in next(verdict_findings({"a vs b": rates}))


def test_an_unknown_question_is_refused_with_the_configuration() -> None:
    with pytest.raises(ValueError, match="unknown question 'dialog'"):
        config(question="dialog")


def test_a_second_opinion_is_one_of_two_kinds() -> None:
    for wrong in ({}, {"endpoint": ENDPOINT, "reward_model": "RM_Test"}):
        with pytest.raises(ValueError, match="and not both"):
            config(cross_check=wrong)
    assert config(cross_check={"reward_model": "RM_Test"}).cross_check.name == "RM_Test"  # type: ignore[union-attr]


def test_a_second_judge_and_a_reward_model_take_back_what_they_do_not_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first judge likes length, the second one gives no verdict on the first pair."""
    monkeypatch.setenv("SPARRING_HOME", str(tmp_path / "home"))
    write_groups(
        tmp_path / "ours", [replace(one, scores=(0.0, 0.0)) for one in side("longer", "x")]
    )
    write_groups(
        tmp_path / "theirs", [replace(one, scores=(1.0, 0.0)) for one in side("no", "yes")]
    )
    scores = {"RM": tmp_path / "ours"}, {"RM": tmp_path / "theirs"}
    sides = Sides(tmp_path / "ours", tmp_path / "theirs", None, *scores)

    def likes_length(body: Body) -> Body:
        shown = said(body).split("Response A:")[1].split("FIRST")[0].split("Response B:")
        if body["model"] == "second" and "longer" in said(body):
            return chat_answer(body, "I cannot say.")
        return chat_answer(body, f"More helpful: {'A' if len(shown[0]) > len(shown[1]) else 'B'}")

    with PaidServer() as server:
        server.reply = likes_length
        endpoint = {**ENDPOINT, "url": server.url}
        second = {"endpoint": {**endpoint, "model": "second"}}
        for number, (check, outcomes) in enumerate(
            [(second, ["invalid", "lose"]), ({"reward_model": "RM"}, ["tie", "lose"])]
        ):
            asked = config(endpoint=endpoint, cross_check=check)
            work = Workspace(tmp_path / f"w{number}")
            found = judge_sides(sides, asked, work, NullLog(), 0, NOBODY)
            lines = (work.output / VERDICTS).read_text(encoding="utf-8").splitlines()
            assert [json.loads(line)["outcome"] for line in lines] == outcomes
            assert [json.loads(line)["alone"] for line in lines] == ["win", "lose"]
            assert found["confirmed"] == (1.0 if number == 0 else 0.5)
    assert server.received.total() == 8, "the first judge once, the second one once"
