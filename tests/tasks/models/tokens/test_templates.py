"""Chat templates: the text before a response, the same in plain transformers."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tasks.data.groups import Message
from tasks.models.tokens.templates import (
    TEMPLATES,
    clean_response,
    render_prompt,
    render_response,
    resolve_template,
    stop_strings,
)
from tasks.settings.errors import ConfigError

DIALOGUE = (Message("user", "Hi {{ 1 }}"), Message("assistant", "Yes?"), Message("user", "Why? "))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hh", "\n\nHuman: Hi {{ 1 }}\n\nAssistant: Yes?\n\nHuman: Why? \n\nAssistant:"),
        ("plain", "Hi {{ 1 }}\nYes?\nWhy? "),
        (
            "alpaca",
            "Below is an instruction that describes a task. Write a response that appropriately "
            "completes the request.\n\n### Instruction:\nHi {{ 1 }}\n\n### Response:\nYes?"
            "\n\n### Instruction:\nWhy? \n\n### Response:\n",
        ),
        ("tldr", "Hi {{ 1 }}\n\nTL;DR: Yes?\n\nWhy? \n\nTL;DR:"),
    ],
)
def test_named_templates_write_exactly_this(name: str, text: str) -> None:
    assert render_prompt(name, DIALOGUE) == text


def test_tldr_does_not_announce_twice() -> None:
    assert render_prompt("tldr", (Message("user", "POST: x\n\nTL;DR:"),)) == "POST: x\n\nTL;DR:"


@pytest.mark.parametrize("name", TEMPLATES)
def test_transformers_renders_the_same_from_the_source(name: str, tokenizer: Any) -> None:
    tokenizer.chat_template = TEMPLATES[name].source
    messages = [{"role": turn.role, "content": turn.content} for turn in DIALOGUE]
    theirs = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert theirs == render_prompt(name, DIALOGUE)
    assert resolve_template(tokenizer, None) == name
    assert render_prompt(tokenizer, DIALOGUE) == theirs


def test_sources_are_pinned() -> None:
    """A saved model is known again by its template's source: a changed one orphans it.

    If a template must change, give it a new name.
    """
    sources = "\x00".join(f"{name}\x00{known.source}" for name, known in TEMPLATES.items())
    assert hashlib.sha256(sources.encode()).hexdigest()[:16] == "a354fc955452d381"


def test_a_tokenizers_own_template_is_used(tokenizer: Any) -> None:
    tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    assert render_prompt(tokenizer, DIALOGUE[:1]) == "<user>Hi {{ 1 }}"
    assert resolve_template(tokenizer, None) is None
    assert resolve_template(tokenizer, "hh") == "hh"


def test_errors_say_what_to_do(tokenizer: Any) -> None:
    with pytest.raises(ConfigError, match="did you mean 'alpaca'"):
        render_prompt("alpacca", DIALOGUE)
    with pytest.raises(ConfigError, match="no chat template: name one of plain, hh"):
        render_prompt(tokenizer, DIALOGUE)
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(ConfigError, match="roles must alternate"):
        render_prompt(tokenizer, DIALOGUE)


@pytest.mark.parametrize("name", TEMPLATES)
def test_cleaning_undoes_rendering(name: str) -> None:
    assert clean_response(name, render_response(name, "Fine.")) == "Fine."
    assert render_response(name, "") == ""
    assert clean_response(None, render_response(None, "Fine.")) == "Fine."


def test_stop_strings_are_those_of_a_new_turn() -> None:
    assert stop_strings("hh") == ["\n\nHuman:", "\n\nAssistant:"]
    assert stop_strings(None) == stop_strings("plain") == []
