"""Statistics in tokens, with tokenizers small enough to count by hand, and with a real one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tasks.data.groups import Group, Message
from tasks.data.inspection.tokens import TokenCheck

LIMITS = SimpleNamespace(max_prompt_tokens=4, max_response_tokens=3)


class Letters:
    """One token per letter, except that "xy" is one token; "$" is EOS (0) and padding."""

    eos_token_id = 0
    pad_token_id = 0

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        assert not add_special_tokens
        return [0 if c == "$" else ord(c) for c in text.replace("xy", "\ue000")]


def render(prompt: tuple[Message, ...]) -> str:
    return "".join(message.content for message in prompt)


def statistics(tokenizer: object, *groups: tuple[str, ...], limits: object = LIMITS) -> object:
    check = TokenCheck(tokenizer, render)
    for text, *responses in groups:
        check.add(Group((Message("user", text),), tuple(responses)))
    return check.statistics(limits)


def test_statistics_by_hand() -> None:
    """Responses with EOS: "y" 2, "ab" 3, "abc" 4 (over 3), "a$" 3; "ax"+"y" merges."""
    found = statistics(Letters(), ("ax", "y", "ab"), ("abcde", "abc", "a$"))
    assert (found.prompt.mean, found.prompt.longest) == (3.5, 5)
    assert (found.response.mean, found.response.longest) == (3.0, 4)
    assert found.truncated_prompts == 0.5
    assert found.truncated_responses == 0.25
    assert found.boundary_merges == 0.25
    assert found.eos_in_loss == 0.75
    assert found.eos_inside == 0.25
    assert found.pad_is_eos is True


def test_without_limits_nothing_is_truncated() -> None:
    found = statistics(Letters(), ("a", "abcdef"), limits=None)
    assert (found.truncated_prompts, found.truncated_responses) == (None, None)
    assert found.eos_in_loss == 1.0


def test_a_plain_function_has_no_eos() -> None:
    found = statistics(lambda text: list(text.encode()), ("a", "abc"))
    assert found.response.longest == 3
    assert (found.eos_in_loss, found.eos_inside, found.pad_is_eos) == (None, None, None)
    assert found.cells()["EOS in the loss"] == "–"


def test_no_groups() -> None:
    assert statistics(Letters()).boundary_merges == 0.0


def test_a_real_tokenizer(real_data: Path) -> None:
    """GPT-2 joins a space with the word after it: "is" + " it" is apart what it is together."""
    from tokenizers import ByteLevelBPETokenizer

    folder = real_data / "gpt2_tokenizer"
    tokenizer = ByteLevelBPETokenizer(
        str(folder / "gpt2_vocab.json"), str(folder / "gpt2_merges.txt")
    )
    found = statistics(tokenizer, ("what is", " it", "n't"), ("what is ", "it"), limits=None)
    assert found.boundary_merges == pytest.approx(2 / 3, abs=1e-4)
