"""Token ids: prompt and response apart, EOS last, nothing cut in silence."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.data.groups import Group, Message
from tasks.models.tokens.encoding import Limits, encode_group, encode_prompt, vocabulary_of
from tasks.settings.errors import ConfigError, RecordError


def pair(prompt: str, *responses: str) -> Group:
    return Group((Message("user", prompt),), responses)


def test_prompt_and_response_are_tokenised_apart(tokenizer: Any) -> None:
    """`plus` is one token; split between prompt and response it must stay split."""
    merged = tokenizer("pl" + "us", add_special_tokens=False)["input_ids"]
    encoded = encode_group(tokenizer, "plain", pair("pl", "us"), Limits())
    apart = encoded.prompt_ids[1:] + encoded.responses_ids[0][:-1]
    assert apart != merged
    assert tokenizer.decode(encoded.prompt_ids[1:]) == "pl"
    assert tokenizer.decode(encoded.responses_ids[0][:-1]) == "us"


def test_eos_ends_every_response_and_bos_starts_every_prompt(
    tokenizer: Any, groups: list[Group]
) -> None:
    for group in groups:
        encoded = encode_group(tokenizer, "hh", group, Limits())
        assert encoded.prompt_ids[0] == tokenizer.bos_token_id
        assert encoded.prompt_ids.count(tokenizer.bos_token_id) == 1
        for ids, text in zip(encoded.responses_ids, group.responses, strict=True):
            assert ids[-1] == tokenizer.eos_token_id
            assert tokenizer.decode(ids[:-1]).strip() == text
        assert not encoded.truncated_prompt and not any(encoded.truncated_responses)


def test_text_that_spells_eos_is_text(tokenizer: Any) -> None:
    encoded = encode_group(tokenizer, "hh", pair("say <eos>", "<eos><pad>"), Limits())
    assert tokenizer.eos_token_id not in encoded.prompt_ids
    assert encoded.responses_ids[0].count(tokenizer.eos_token_id) == 1
    assert tokenizer.pad_token_id not in encoded.responses_ids[0]


def test_prompt_loses_its_beginning_and_keeps_bos(tokenizer: Any) -> None:
    prompt = (Message("user", "what is 1 plus 2 plus 3 plus 4?"),)
    whole, cut = encode_prompt(tokenizer, "hh", prompt, 1000)
    assert not cut
    assert encode_prompt(tokenizer, "hh", prompt, len(whole)) == (whole, False)
    short, cut = encode_prompt(tokenizer, "hh", prompt, 8)
    assert cut and short == [tokenizer.bos_token_id, *whole[-7:]]


def test_long_response_stops_or_loses_its_eos_but_never_in_silence(tokenizer: Any) -> None:
    group = pair("4?", "it is 7", "it is a rather long answer")
    whole = encode_group(tokenizer, "hh", group, Limits())
    size = len(whole.responses_ids[0])
    with pytest.raises(RecordError, match=f"{group.id} “.*” has .* the limit is {size}"):
        encode_group(tokenizer, "hh", group, Limits(max_response_tokens=size))
    limits = Limits(max_response_tokens=size, on_long_response="truncate_without_eos")
    cut = encode_group(tokenizer, "hh", group, limits)
    assert cut.truncated_responses == [False, True]
    assert cut.responses_ids[0] == whole.responses_ids[0]
    assert cut.responses_ids[1] == whole.responses_ids[1][:size]
    assert tokenizer.eos_token_id not in cut.responses_ids[1]


def test_a_prompt_makes_room_for_the_longest_response_of_its_group(tokenizer: Any) -> None:
    group = pair("what is 1 plus 2 plus 3 plus 4?", "7", "it is a rather long answer")
    whole = encode_group(tokenizer, "hh", group, Limits())
    prompt, longest = len(whole.prompt_ids), len(whole.responses_ids[1])
    exact = encode_group(tokenizer, "hh", group, Limits(max_tokens=prompt + longest))
    assert exact == whole
    cut = encode_group(tokenizer, "hh", group, Limits(max_tokens=prompt + longest - 3))
    assert cut.responses_ids == whole.responses_ids and cut.truncated_prompt
    assert cut.prompt_ids == [tokenizer.bos_token_id, *whole.prompt_ids[4:]]
    # A response that leaves nothing to its prompt loses its end; the prompt keeps one token.
    tight = Limits(max_tokens=4, on_long_response="truncate_without_eos")
    short = encode_group(tokenizer, "hh", group, tight)
    assert [len(ids) for ids in (short.prompt_ids, *short.responses_ids)] == [1, 2, 3]
    with pytest.raises(RecordError, match="the limit is 3"):
        encode_group(tokenizer, "hh", group, Limits(max_tokens=4))


def test_empty_prompt_still_predicts_the_first_token(tokenizer: Any) -> None:
    assert encode_prompt(tokenizer, "plain", (), 10) == ([tokenizer.bos_token_id], False)
    tokenizer.bos_token = None  # as a tokenizer that puts nothing first
    tokenizer.add_bos_token = False
    ids, _ = encode_prompt(tokenizer, "plain", (), 10)
    assert ids == [tokenizer.eos_token_id]


def test_no_room_for_a_prompt_is_a_config_error(tokenizer: Any) -> None:
    with pytest.raises(ConfigError, match="max_prompt_tokens is 0"):
        encode_prompt(tokenizer, "plain", (Message("user", "x"),), 0)


def test_own_template_writes_special_tokens_but_responses_do_not(tokenizer: Any) -> None:
    tokenizer.chat_template = "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"
    encoded = encode_group(tokenizer, None, pair("4?", "<eos>7"), Limits())
    assert encoded.prompt_ids[0] == tokenizer.bos_token_id
    assert encoded.prompt_ids.count(tokenizer.bos_token_id) == 1
    assert encoded.prompt_ids[-1] == tokenizer.eos_token_id
    assert encoded.responses_ids[0].count(tokenizer.eos_token_id) == 1


def test_a_sample_that_was_cut_off_gets_no_eos(tokenizer: Any) -> None:
    texts = ("it is 7", "it is")
    group = Group((Message("user", "4?"),), texts, extra={"ended": [True, False]})
    encoded = encode_group(tokenizer, "hh", group, Limits())
    whole = encode_group(tokenizer, "hh", pair("4?", *texts), Limits())
    assert encoded.responses_ids[0] == whole.responses_ids[0]
    assert encoded.responses_ids[1] == whole.responses_ids[1][:-1]
    assert whole.responses_ids[1][-1] == tokenizer.eos_token_id
    assert encoded.truncated_responses == [False, False]
    # Without its EOS it fits a limit that is one lower.
    size = len(encoded.responses_ids[1])
    cut_alone = Group(group.prompt, texts[1:], extra={"ended": [False]})
    limits = Limits(max_response_tokens=size)
    assert encode_group(tokenizer, "hh", cut_alone, limits).responses_ids[0][-1] != (
        tokenizer.eos_token_id
    )


@pytest.mark.parametrize("ended", [True, False])
def test_an_empty_response_always_has_its_eos(tokenizer: Any, ended: bool) -> None:
    group = Group((Message("user", "4?"),), ("",), extra={"ended": [ended]})
    encoded = encode_group(tokenizer, "plain", group, Limits())
    assert encoded.responses_ids == [[tokenizer.eos_token_id]]


def test_notes_that_match_no_response_are_refused(tokenizer: Any) -> None:
    group = Group((Message("user", "4?"),), ("a", "b"), extra={"ended": [True]})
    with pytest.raises(RecordError, match="1 `ended` notes for 2 responses"):
        encode_group(tokenizer, "hh", group, Limits())


def test_a_sample_longer_than_the_limit_loses_its_end_instead_of_stopping(tokenizer: Any) -> None:
    limits = Limits(max_prompt_tokens=8, max_response_tokens=2)
    prompt = (Message("user", "hi"),)
    sampled = Group(prompt, ("abcdefgh",), extra={"ended": [True]})
    encoded = encode_group(tokenizer, "plain", sampled, limits)
    assert encoded.truncated_responses == [True]
    assert len(encoded.responses_ids[0]) == 2
    with pytest.raises(RecordError, match="max_response_tokens"):
        encode_group(tokenizer, "plain", Group(prompt, ("abcdefgh",)), limits)


def sampled(tokenizer: Any, text: str, ids: list[int] | None, **more: Any) -> Group:
    vocabulary = vocabulary_of(tokenizer, "hh")
    extra = {"ended": [True], "ids": [ids], "vocabulary": vocabulary, **more}
    return Group((Message("user", "4?"),), (text,), extra=extra)


def test_samples_keep_the_tokens_they_were_drawn_in(tokenizer: Any) -> None:
    """A broken character comes back as another token, and letters may be drawn one by one."""
    letters = [tokenizer(x, add_special_tokens=False)["input_ids"][0] for x in "plus"]
    broken = tokenizer("é", add_special_tokens=False)["input_ids"][:1]
    drawn = [*letters, *broken, tokenizer.eos_token_id]
    text = tokenizer.decode(drawn, skip_special_tokens=True)
    group = sampled(tokenizer, text, drawn)
    assert encode_group(tokenizer, "hh", group, Limits()).responses_ids != [drawn]
    encoded = encode_group(tokenizer, "hh", group, Limits(), as_sampled=True)
    assert encoded.responses_ids == [drawn]
    short = Limits(max_response_tokens=3)
    cut = encode_group(tokenizer, "hh", group, short, as_sampled=True)
    assert cut.responses_ids == [drawn[:3]] and cut.truncated_responses == [True]


def test_tokens_of_another_vocabulary_or_template_are_not_taken(tokenizer: Any) -> None:
    plain = encode_group(tokenizer, "hh", sampled(tokenizer, "it is 7", None), Limits())
    others = [
        (sampled(tokenizer, "it is 7", [5, 6], vocabulary="0" * 16), "hh"),
        (sampled(tokenizer, "it is 7", None), "hh"),
        (Group((Message("user", "4?"),), ("it is 7",)), "hh"),
    ]
    for group, template in others:
        encoded = encode_group(tokenizer, template, group, Limits(), as_sampled=True)
        assert encoded.responses_ids == plain.responses_ids
    assert vocabulary_of(tokenizer, "hh") != vocabulary_of(tokenizer, "plain")
    before = vocabulary_of(tokenizer, "hh")
    tokenizer.add_tokens(["something new"])
    assert vocabulary_of(tokenizer, "hh") != before
    both = Group((Message("user", "4?"),), ("a", "b"), extra=sampled(tokenizer, "a", [5]).extra)
    both.extra["ended"] = [True, True]
    with pytest.raises(RecordError, match="1 `ids` notes for 2 responses"):
        encode_group(tokenizer, "hh", both, Limits(), as_sampled=True)
