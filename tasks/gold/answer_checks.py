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
    r" (help|assist|provide|answer|comply|fulfil|create|write|engage|support|do|give|share)"
    # German, French, Spanish, Portuguese, Italian, Russian
    r"|^\W*(es )?tut mir( \w+)? leid,?( aber)? (ich|dabei|damit|dazu|das) (kann|darf|werde)\b"
    r"|^\W*(leider )?(ich kann|kann ich)( \w+)? (dabei|damit|dazu|hierbei)( leider)? nicht\b"
    r"|^\W*(je suis )?(désolée?|navrée?),?( mais)? je ne (peux|puis) pas\b"
    r"|^\W*je ne (peux|puis) pas (vous |t['’])?(aider|répondre|fournir|écrire|donner)"
    r"|^\W*lo siento,?( pero)? no puedo\b|^\W*no puedo (ayudar|responder|proporcionar|escribir)"
    r"|^\W*(sinto muito|desculpe|lamento),?( mas)?( eu)? não posso\b"
    r"|^\W*não posso (ajudar|responder|fornecer|escrever)"
    r"|^\W*mi dispiace,?( ma)? non posso\b|^\W*non posso (aiutar|rispondere|fornire|scrivere)"
    r"|^\W*(извините|простите|к сожалению),?( но)? я не могу\b"
    # Chinese, Japanese, Korean
    r"|^\W*(很|非常)?(抱歉|对不起|對不起)[，,\s]*(但|但是)?我?(不能|无法|無法)"
    r"|^\W*作[为為]一?[个個]?(AI|人工智能|人工智慧|语言模型)"
    r"|^\W*(申し訳(あり|ござい)ません|すみません|ごめんなさい)が?[^。]{0,40}(でき(ません|かねます))"
    r"|^\W*(죄송하지만|죄송합니다만|미안하지만)[^.]{0,40}(수 없|드릴 수 없)",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[.!?…。！？][\"'”’)\]]*(?=\s|$)|[。！？]")
_FEWEST_LETTERS, _SURE = 40, 0.99
"""A shorter text, or a lower probability, says nothing of the language."""
_KANA, _HANGUL, _HAN = map(re.compile, ("[\u3040-\u30ff]", "[\uac00-\ud7af]", "[\u3400-\u9fff]"))
_FEWEST_WIDE, _FEWEST_HAN = 4, 20
"""So many of these signs tell the script; so many Han signs without kana are Chinese."""
_HAN_ALONE = "han"
"""The language of a few Han signs, which Chinese and Japanese write alike."""


def is_refusal(text: str) -> bool:
    """Return whether an answer begins as refusals do, in English and nine other languages.

    Example:
        >>> is_refusal("I'm sorry, but I can't help with that."), is_refusal("Sorry to hear that!")
        (True, False)
    """
    return _REFUSAL.search(text) is not None


def other_language(prompt: str, answer: str) -> bool:
    """Return whether an answer is in another language than its prompt, as far as both are sure."""
    languages = language_of(prompt), language_of(answer)
    if _HAN_ALONE in languages and set(languages) <= {_HAN_ALONE, "zh", "ja"}:
        return False
    return "" not in languages and languages[0] != languages[1]


def language_of(text: str) -> str:
    """Return the code of a text's language, such as `en`; empty where it cannot be told.

    Chinese, Japanese and Korean are told by their script, from a few signs on. Else it is naive
    Bayes of py3langid: the same for the same text, and its model ships with it.

    Example:
        >>> language_of("Take flour and water, stir them well, and then wait for an hour.")
        'en'
        >>> language_of("Bread!")
        ''
    """
    letters = sum(map(str.isalpha, text))
    if script := _by_script(text, letters):
        return script
    if letters < _FEWEST_LETTERS:
        return ""
    code, chance = _identifier().classify(text)
    return str(code) if chance >= _SURE else ""


def _by_script(text: str, letters: int) -> str:
    """Return the language whose script is that of half of the letters; empty for other scripts."""
    kana, hangul, han = (len(script.findall(text)) for script in (_KANA, _HANGUL, _HAN))
    if kana + hangul + han < max(_FEWEST_WIDE, letters / 2):
        return ""
    if hangul > kana + han:
        return "ko"
    if kana:
        return "ja"
    return "zh" if han >= _FEWEST_HAN else _HAN_ALONE


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
