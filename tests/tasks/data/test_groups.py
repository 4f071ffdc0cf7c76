"""The data record: identity of prompts, checks, and the way to JSON and back."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.data.groups import (
    Group,
    Message,
    finished,
    first_turn_hash,
    normalise,
    prompt_hash,
    scores_of,
    text_of,
)
from tasks.settings.errors import RecordError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
PROMPTS = st.lists(
    st.builds(Message, st.sampled_from(["system", "user", "assistant"]), TEXT), max_size=3
).map(tuple)


@st.composite
def groups(draw: st.DrawFn) -> Group:
    """Any group: K from 0 to 4, with and without scores, sources and extra."""
    responses = tuple(draw(st.lists(TEXT, max_size=4)))
    k = len(responses)
    number = st.floats(allow_nan=False, allow_infinity=False)
    scores = draw(st.none() | st.tuples(*[number] * k))
    sources = draw(st.none() | st.tuples(*[TEXT] * k))
    extra = draw(st.dictionaries(TEXT, TEXT | st.integers(), max_size=2))
    return Group(draw(PROMPTS), responses, scores, sources, draw(TEXT), extra)


@given(groups())
def test_json_round_trip_keeps_everything(group: Group) -> None:
    text = json.dumps(group.to_json())
    assert Group.from_json(json.loads(text)) == group


def test_from_json_leaves_its_input_unchanged() -> None:
    tree = Group((Message("user", "a"),), ("b", "c"), (1.0, 0.0), extra={"record": "x"}).to_json()
    before = json.dumps(tree)
    Group.from_json(tree).extra["record"] = "y"
    assert json.dumps(tree) == before


@given(PROMPTS)
def test_hash_does_not_see_white_space_or_unicode_form(prompt: tuple[Message, ...]) -> None:
    spaced = tuple(
        Message(m.role, "  " + unicodedata.normalize("NFD", m.content).replace(" ", " \n ") + "\t")
        for m in prompt
    )
    assert prompt_hash(spaced) == prompt_hash(prompt)
    assert first_turn_hash(spaced) == first_turn_hash(prompt)


def test_hash_sees_roles_and_boundaries() -> None:
    one = (Message("user", "a b"), Message("assistant", "c"))
    assert len({prompt_hash(p) for p in (one, one[:1], one[1:], (Message("user", "a b c"),))}) == 4
    assert prompt_hash(one) != prompt_hash((Message("user", "a"), Message("assistant", "b c")))


def test_first_turn_is_shared_by_a_dialogue_and_its_continuation() -> None:
    start = (Message("user", "hello"),)
    longer = (
        Message("system", "be brief"),
        *start,
        Message("assistant", "x"),
        Message("user", "y"),
    )
    assert first_turn_hash(start) == first_turn_hash(longer)
    assert prompt_hash(start) != prompt_hash(longer)


def test_id_is_the_prompts_hash_unless_given() -> None:
    prompt = (Message("user", "a"),)
    assert Group(prompt).id == prompt_hash(prompt)
    assert len(Group(prompt).id) == 32
    assert Group(prompt, id="mine").id == "mine"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"prompt": (Message("robot", "a"),)}, "unknown role 'robot'"),
        ({"prompt": (), "responses": ("a",), "scores": (1.0, 2.0)}, "2 scores for 1 responses"),
        ({"prompt": (), "responses": ("a",), "sources": ()}, "0 sources for 1 responses"),
        ({"prompt": (), "responses": ("a",), "scores": (float("nan"),)}, "finite"),
    ],
)
def test_a_group_that_contradicts_itself_is_refused(fields: dict, words: str) -> None:
    with pytest.raises(RecordError, match=words):
        Group(**fields)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"responses": []}, "'prompt'"),
        ({"prompt": [], "responses": [], "answer": 1}, "unknown field 'answer'"),
        ({"prompt": [], "responses": [1]}, "expected a text, got int"),
        ({"prompt": [], "responses": 1}, "not a group"),
        ({"prompt": [{"role": "user"}], "responses": []}, "'content'"),
    ],
)
def test_json_that_is_no_group_is_refused(tree: dict, words: str) -> None:
    with pytest.raises(RecordError, match=words):
        Group.from_json(tree)


def test_normalise_collapses_every_kind_of_space() -> None:
    assert normalise("\u00a0a \n\t b\u2003") == "a b"


def test_responses_count_as_finished_unless_the_sampler_noted_otherwise() -> None:
    texts = ("a", "b")
    assert finished(Group((), texts)) == (True, True)
    assert finished(Group((), texts, extra={"ended": [False, True]})) == (False, True)
    assert finished(Group((), texts, extra={"tokens": [3, 4]})) == (True, True)
    assert finished(Group(())) == ()
    with pytest.raises(RecordError, match="3 `ended` notes for 2 responses"):
        finished(Group((), texts, extra={"ended": [True] * 3}))


def test_scores_of_a_group_that_nobody_scored() -> None:
    assert scores_of(Group((), ("a",), (1.0,))) == (1.0,)
    with pytest.raises(RecordError, match="group q “.*” has no scores"):
        scores_of(Group((), ("a",), id="q"))


def test_a_conversation_is_shown_turn_by_turn() -> None:
    turns = (Message("system", "Be kind."), Message("user", "Hi"), Message("assistant", "Hello"))
    assert text_of(turns) == "System: Be kind.\n\nHuman: Hi\n\nAssistant: Hello"
