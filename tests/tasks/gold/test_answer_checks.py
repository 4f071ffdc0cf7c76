"""Refusals, languages and ends of sentences, by examples of each."""

from __future__ import annotations

import pytest

from tasks.gold.answer_checks import is_refusal, language_of, other_language, whole_sentences

GERMAN = "Man nehme Mehl und Wasser, verrühre beides gründlich und warte dann eine ganze Stunde."
ENGLISH = "Take flour and water, stir both of them thoroughly, and then wait for a whole hour."


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I’m really sorry, but as an AI I have no opinion.",
        "Sorry, I cannot do this.",
        "As an AI language model, I don't have feelings.",
        "I cannot provide instructions for that.",
        "I'm unable to assist with this request.",
    ],
)
def test_refusals_are_known(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry to hear that your dog died.",
        "Sorry for the wait! Mix it.",
        "I can't believe it, how wonderful!",
        "You can say: I'm sorry, but I can't come.",
        "An AI language model predicts words.",
    ],
)
def test_what_only_sounds_like_one_is_none(text: str) -> None:
    assert not is_refusal(text)


def test_another_language_is_said_only_where_both_are_sure() -> None:
    assert (language_of(GERMAN), language_of(ENGLISH)) == ("de", "en")
    assert other_language(ENGLISH, GERMAN) and not other_language(ENGLISH, ENGLISH)
    assert not other_language("Brot?", ENGLISH) and not other_language(ENGLISH, "Ja, gern.")
    assert language_of("1 + 2 = 3; 4 + 5 = 9; " * 20) == "", "digits are no language"
    assert language_of("def f(x): return x\n" * 2) in ("", "en")


def test_a_text_is_cut_behind_its_last_whole_sentence() -> None:
    assert whole_sentences('He said "No." Then he') == 'He said "No."'
    assert whole_sentences("It costs 3.50 euros and") == ""
    assert whole_sentences("そうです。そして") == "そうです。"
    assert whole_sentences("All of it.") == "All of it."
