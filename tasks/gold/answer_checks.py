"""What can be told of one answer: that it refuses, its language, where its sentences end."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

_REFUSAL = re.compile(
    r"^\W*(i['’]m|i am)( \w+)? sorry,?( but)? (i|as an|that)\b"
    r"|^\W*(sorry|i apologi[sz]e),?( but)? (i|as an)\b"
    r"|^\W*as an? (ai|artificial|language)\b"
    r"|^\W*(i (can['’]?t|cannot|can not|won['’]?t|am unable to|am not able to)|i['’]m unable to)"
    r" (help|assist|provide|answer|comply|fulfil|create|write|engage|support|do|give|share)",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[.!?…。！？][\"'”’)\]]*(?=\s|$)|[。！？]")
_FEWEST_LETTERS, _SURE = 40, 0.99
"""A shorter text, or a lower probability, says nothing of the language."""


def is_refusal(text: str) -> bool:
    """Return whether an English answer begins as refusals do.

    Example:
        >>> is_refusal("I'm sorry, but I can't help with that."), is_refusal("Sorry to hear that!")
        (True, False)
    """
    return _REFUSAL.search(text) is not None


def other_language(prompt: str, answer: str) -> bool:
    """Return whether an answer is in another language than its prompt, as far as both are sure."""
    languages = language_of(prompt), language_of(answer)
    return "" not in languages and languages[0] != languages[1]


def language_of(text: str) -> str:
    """Return the code of a text's language, such as `en`; empty where it cannot be told.

    Naive Bayes of py3langid: the same for the same text, and its model ships with it.

    Example:
        >>> language_of("Take flour and water, stir them well, and then wait for an hour.")
        'en'
        >>> language_of("Bread!")
        ''
    """
    if sum(map(str.isalpha, text)) < _FEWEST_LETTERS:
        return ""
    code, chance = _identifier().classify(text)
    return str(code) if chance >= _SURE else ""


def whole_sentences(text: str) -> str:
    """Return the beginning of a text up to its last whole sentence; empty where none ends.

    Example:
        >>> whole_sentences("Mix it. Wait an hour. Then put it in")
        'Mix it. Wait an hour.'
    """
    ends = [found.end() for found in _SENTENCE.finditer(text)]
    return text[: ends[-1]].rstrip() if ends else ""


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
