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
        "Es tut mir leid, aber ich kann dabei nicht helfen.",
        "Leider kann ich dir dabei nicht helfen.",
        "Je suis désolé, mais je ne peux pas répondre à cela.",
        "Lo siento, pero no puedo ayudar con eso.",
        "Desculpe, mas não posso ajudar com isso.",
        "Mi dispiace, ma non posso aiutarti.",
        "Извините, но я не могу помочь с этим.",
        "很抱歉，我无法提供这些信息。",
        "申し訳ありませんが、そのご質問にはお答えできません。",
        "죄송하지만 그 요청은 도와드릴 수 없습니다.",
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
        "Es tut mir leid, dass dein Hund gestorben ist.",
        "Je suis désolée pour votre chien.",
        "申し訳ありません。小麦粉は一カップです。",
        "对不起，让你久等了。",
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


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("小麦粉と水を混ぜます。", "ja"),
        ("물을 잘 섞어 주세요.", "ko"),
        ("请把面粉和水混合均匀，然后等一个小时再放进烤箱里。", "zh"),
        ("茶是一种饮料。", "han"),
        ("東京", ""),
        ("The word for tea is 茶.", ""),
    ],
)
def test_a_script_tells_the_language_of_a_short_text(text: str, code: str) -> None:
    assert language_of(text) == code


def test_short_answers_in_another_script_are_another_language() -> None:
    assert other_language(ENGLISH, "茶是一种饮料。") and other_language(
        "お茶とは何ですか？", ENGLISH
    )
    assert not other_language("首都はどこですか？", "東京都千代田区")
    assert not other_language("什么是茶？", "茶是一种饮料。")
    assert other_language("什么是茶？", "차는 음료입니다.")


def test_a_text_is_cut_behind_its_last_whole_sentence() -> None:
    assert whole_sentences('He said "No." Then he') == 'He said "No."'
    assert whole_sentences("It costs 3.50 euros and") == ""
    assert whole_sentences("そうです。そして") == "そうです。"
    assert whole_sentences("All of it.") == "All of it."
