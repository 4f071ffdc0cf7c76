"""What a TQR learns from: pairs with an order and two texts, or the best response alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.data.files import read_groups, write_groups
from tasks.data.groups import Group, Message
from tasks.models.tokens.encoding import Limits
from tasks.settings.errors import ConfigError, RecordError
from tasks.training.data.tqr_groups import TqrEncoder, TqrGroups
from tests.tasks.training.conftest import RecordingLog

PROMPT = (Message("user", "tea?"),)


def group(*responses: str, scores: tuple[float, ...] | None = None, **extra) -> Group:
    return Group(PROMPT, responses, scores, extra=extra)


def chosen(folder: Path, objective: str, *groups: Group) -> tuple[list[tuple[str, ...]], TqrGroups]:
    write_groups(folder, groups)
    found = TqrGroups(read_groups(folder), objective)
    return [one.responses for one in found], found


def test_a_pair_has_two_texts_and_two_scores(tmp_path: Path) -> None:
    responses, found = chosen(
        tmp_path / "groups",
        "ava_p",
        group("yes", "no", scores=(1.0, 0.0)),
        group("same", "same ", scores=(1.0, 0.0)),
        group("tied", "also", scores=(1.0, 1.0)),
        group("a", "b", "a", scores=(2.0, 1.0, 0.0)),
    )
    assert responses == [("yes", "no"), ("a", "b")]
    assert found.counts == {"empty": 0, "identical": 2, "left_out": 2}
    log = RecordingLog()
    found.note(log)
    assert "2 identical, 2 left out" in log.notes[0] and "tea?" in log.notes[0]


def test_the_best_response_is_imitated(tmp_path: Path) -> None:
    responses, found = chosen(
        tmp_path / "groups",
        "ava_d",
        group("demonstration"),
        group("worse", "better", scores=(0.0, 1.0)),
        group("a", "b", scores=(0.5, 0.5)),
    )
    assert responses == [("demonstration",), ("better",)]
    assert found.counts["left_out"] == 1


def test_a_sample_without_a_text_is_left_out(tmp_path: Path) -> None:
    responses, found = chosen(
        tmp_path / "groups",
        "bradley_terry",
        group("yes", "", scores=(1.0, 0.0), ended=[True, True]),
        group("yes", "", "no", scores=(2.0, 1.0, 0.0), ended=[True, True, False]),
    )
    assert responses == [("yes", "no")]
    assert found.counts == {"empty": 2, "identical": 0, "left_out": 1}


def test_demonstrations_are_no_pairs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ava_p needs at least 2 scored responses per prompt"):
        chosen(tmp_path / "groups", "ava_p", group("demonstration"))


def test_an_empty_response_that_somebody_wrote_is_refused(tiny_policy: Path) -> None:
    encoder = TqrEncoder.of(tiny_policy, None, Limits(max_prompt_tokens=40, max_response_tokens=9))
    with pytest.raises(RecordError, match=r"response 1 of the group .* is empty"):
        encoder.encode(group("yes", "", scores=(1.0, 0.0)))
    assert len(encoder.encode(group("yes", "no")).responses_ids) == 2
