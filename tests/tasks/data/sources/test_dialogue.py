"""Dialogue texts: the transcript form, shared prefixes, messages of many makers."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.data.groups import Message
from tasks.data.sources.dialogue import (
    common_prefix_length,
    read_prompt,
    read_response,
    split_shared,
    split_transcript,
)
from tasks.settings.errors import RecordError

WORDS = st.text("ab \n.", min_size=1).filter(lambda text: text.strip() and "\n\n" not in text)


@given(st.lists(st.tuples(st.sampled_from(["Human", "Assistant"]), WORDS), min_size=1))
def test_a_transcript_splits_into_its_turns(turns: list[tuple[str, str]]) -> None:
    text = "".join(f"\n\n{who}: {said.strip()}" for who, said in turns)
    roles = {"Human": "user", "Assistant": "assistant"}
    expected = tuple(Message(roles[who], said.strip()) for who, said in turns)
    assert split_transcript(text) == expected
    assert split_transcript(text + "\n\nAssistant:") == expected


@given(st.lists(WORDS, min_size=1, max_size=3), WORDS, WORDS)
def test_two_dialogues_share_their_prompt(said: list[str], one: str, other: str) -> None:
    prompt = "".join(f"\n\nHuman: {text.strip()}\n\nAssistant: ok" for text in said[:-1])
    prompt += f"\n\nHuman: {said[-1].strip()}\n\nAssistant:"
    found, chosen, rejected = split_shared(f"{prompt} {one}", f"{prompt} {other}")
    assert found == split_transcript(prompt)
    assert (chosen, rejected) == (one.strip(), other.strip())


def test_a_shared_start_of_the_replies_belongs_to_the_replies() -> None:
    prompt, one, other = split_shared(
        "\n\nHuman: hi\n\nAssistant: I am well", "\n\nHuman: hi\n\nAssistant: I am ill"
    )
    assert (prompt, one, other) == ((Message("user", "hi"),), "I am well", "I am ill")


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ("\n\nHuman: a\n\nAssistant: b", "\n\nHuman: c\n\nAssistant: b", "share no prompt"),
        ("plain", "plain text", "share no prompt"),
        (
            "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d",
            "\n\nHuman: a\n\nAssistant: x",
            "differ before the last reply",
        ),
        ("oh\n\nHuman: a\n\nAssistant: b", "oh\n\nHuman: a\n\nAssistant: c", "begin with 'Human:'"),
    ],
)
def test_dialogues_without_a_common_prompt_are_refused(one: str, other: str, words: str) -> None:
    with pytest.raises(RecordError, match=words):
        split_shared(one, other)


@given(st.text("ab", max_size=40), st.text("ab", max_size=40))
def test_common_prefix_equals_the_standard_librarys(one: str, other: str) -> None:
    assert common_prefix_length(one, other) == len(os.path.commonprefix([one, other]))


def test_prompts_of_every_kind() -> None:
    expected = (Message("user", "hi"), Message("assistant", "yes?"), Message("user", "go"))
    roles = ["user", "assistant", "user"]
    texts = ["hi", "yes?", "go"]
    pairs = list(zip(roles, texts, strict=True))
    assert read_prompt([{"role": r, "content": t} for r, t in pairs]) == expected
    shared = {"user": "human", "assistant": "gpt"}
    assert read_prompt([{"from": shared[r], "value": t} for r, t in pairs]) == expected
    assert read_prompt("\n\nHuman: hi\n\nAssistant: yes?\n\nHuman: go\n\nAssistant:") == expected
    assert read_prompt("Human: hi\n\nAssistant:") == (Message("user", "hi"),)
    assert read_prompt(" Human: is a word ") == (Message("user", "Human: is a word"),)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (3, "should be a text, is the number 3"),
        (None, "should be a text, is null"),
        ("\ud800", "half a surrogate pair"),
        ([], "list of messages"),
        (["hi"], "should hold messages"),
        ([{"role": "robot", "content": ""}], "unknown role 'robot'"),
        ([{"role": "user", "content": None}], "is null"),
    ],
)
def test_what_is_no_prompt_is_refused(value: object, words: str) -> None:
    with pytest.raises(RecordError, match=words):
        read_prompt(value)


def test_responses() -> None:
    assert read_response(" a ", "chosen") == "a"
    assert read_response([{"role": "assistant", "content": "a"}], "chosen") == "a"
    for wrong in ([{"role": "user", "content": "a"}], [{"role": "assistant", "content": "a"}] * 2):
        with pytest.raises(RecordError, match="one assistant message"):
            read_response(wrong, "chosen")
