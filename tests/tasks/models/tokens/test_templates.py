"""Chat templates: what they write, and that a saved one is known again."""

from __future__ import annotations

import hashlib

import pytest

from tasks.data.groups import Message
from tasks.models.tokens.templates import (
    TEMPLATES,
    clean_response,
    find_template,
    name_of,
    render,
    source_of,
    stop_strings,
)
from tasks.settings.errors import ConfigError

DIALOGUE = (Message("user", "Hi {{ 1 }}"), Message("assistant", "Yes?"), Message("user", "Why? "))
ANSWER = Message("assistant", "So.")


def written(name: str, *turns: Message, announce: bool = False) -> str:
    """The turns with `B` for BOS and `E` for EOS."""
    source = source_of(name, bos=True)
    return render(source, turns, announce=announce, bos_token="B", eos_token="E")


@pytest.mark.parametrize(
    ("name", "prompt", "answer"),
    [
        (
            "hh",
            "B\n\nHuman: Hi {{ 1 }}\n\nAssistant: Yes?E\n\nHuman: Why? \n\nAssistant:",
            " So.E",
        ),
        ("plain", "BHi {{ 1 }}Yes?EWhy? ", "So.E"),
        (
            "alpaca",
            "BBelow is an instruction that describes a task. Write a response that appropriately "
            "completes the request.\n\n### Instruction:\nHi {{ 1 }}\n\n### Response:\nYes?E"
            "\n\n### Instruction:\nWhy? \n\n### Response:\n",
            "So.E",
        ),
        ("tldr", "BHi {{ 1 }}\n\nTL;DR: Yes?E\n\nWhy? \n\nTL;DR:", " So.E"),
    ],
)
def test_named_templates_write_exactly_this(name: str, prompt: str, answer: str) -> None:
    assert written(name, *DIALOGUE, announce=True) == prompt
    assert written(name, *DIALOGUE, ANSWER) == prompt + answer
    assert written(name, *DIALOGUE, Message("assistant", "")) == prompt + "E"


def test_tldr_does_not_announce_twice() -> None:
    asked = Message("user", "POST: x\n\nTL;DR:")
    assert written("tldr", asked, announce=True) == "BPOST: x\n\nTL;DR:"
    assert written("tldr", asked, ANSWER) == "BPOST: x\n\nTL;DR: So.E"


def test_alpaca_takes_white_space_off_the_beginning_of_an_answer() -> None:
    """It would join the line break before it into one token."""
    assert written("alpaca", DIALOGUE[0], Message("assistant", "\n So. ")).endswith(":\nSo. E")


def test_without_bos_plain_begins_with_eos_where_there_is_nothing_to_predict_from() -> None:
    source = source_of("plain", bos=False)
    for turns, text in [((), "E"), (DIALOGUE[:1], "Hi {{ 1 }}"), ((ANSWER,), "ESo.E")]:
        announce = not turns or turns[-1].role == "user"
        assert render(source, turns, announce=announce, bos_token="B", eos_token="E") == text


def test_plain_puts_other_turns_on_lines_of_their_own() -> None:
    turns = Message("system", "Be kind."), *DIALOGUE[:1]
    assert written("plain", *turns, announce=True) == "BBe kind.\nHi {{ 1 }}"


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_source_is_known_by_name(name: str, bos: bool) -> None:
    assert name_of(source_of(name, bos=bos)) == name
    assert name_of(source_of(name, bos=bos) + " ") is None


def test_sources_are_pinned() -> None:
    """A saved model is known again by its template's source: a changed one orphans it.

    If a template must change, give it a new name.
    """
    sources = "\x00".join(
        f"{name}\x00{source_of(name, bos=bos)}" for name in TEMPLATES for bos in (True, False)
    )
    assert hashlib.sha256(sources.encode()).hexdigest()[:16] == "c76622d0dc6a6b02"


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'alpaca'"):
        find_template("alpacca")


@pytest.mark.parametrize("name", TEMPLATES)
def test_cleaning_undoes_writing(name: str) -> None:
    prompt = written(name, DIALOGUE[0], announce=True)
    answer = written(name, DIALOGUE[0], Message("assistant", "Fine."))[len(prompt) : -1]
    assert clean_response(name, answer) == "Fine."
    assert clean_response(None, " Fine. ") == "Fine."


def test_stop_strings_are_those_of_a_new_turn() -> None:
    assert stop_strings("hh") == ["\n\nHuman:", "\n\nAssistant:"]
    assert stop_strings(None) == stop_strings("plain") == []
