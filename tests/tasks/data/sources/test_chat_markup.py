"""Texts that already hold a chat template: refused, unwrapped into messages, or kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.data.groups import Group, Message
from tasks.data.sources.chat_markup import unwrapped
from tasks.data.sources.config import SourceConfig
from tasks.data.sources.reader import read_source
from tasks.data.sources.tally import BadRecord

CHATML = "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi?<|im_end|>\n"
LLAMA3 = (
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nHi?<|eot_id|>"
)
ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately completes "
    "the request.\n\n### Instruction:\nHi?\n\n"
)
WRAPPED = {
    "chatml": CHATML + "<|im_start|>assistant\n",
    "llama3": LLAMA3 + "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "zephyr": "<|system|>\nBe kind.</s>\n<|user|>\nHi?</s>\n<|assistant|>\n",
    "phi": "<|system|>\nBe kind.<|end|>\n<|user|>\nHi?<|end|>\n<|assistant|>\n",
    "gemma": "<bos><start_of_turn>user\nHi?<end_of_turn>\n<start_of_turn>model\n",
    "llama2": "<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHi? [/INST]",
    "mistral": "<s>[INST] Hi? [/INST]",
    "deepseek": "<｜begin▁of▁sentence｜>Be kind.<｜User｜>Hi?<｜Assistant｜>",
    "command-r": (
        "<BOS_TOKEN><|START_OF_TURN_TOKEN|><|USER_TOKEN|>Hi?<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"
    ),
    "harmony": (
        "<|start|>developer<|message|>Be kind.<|end|><|start|>user<|message|>Hi?<|end|>"
        "<|start|>assistant<|channel|>final<|message|>"
    ),
    "alpaca": ALPACA + "### Response:\n",
    "guanaco": "### Human: Hi?\n### Assistant:",
    "hh": "Be kind.\n\nHuman: Hi?\n\nAssistant:",
}
WITHOUT_SYSTEM = {"gemma", "mistral", "command-r", "alpaca", "guanaco"}
SYSTEM, USER = Message("system", "Be kind."), Message("user", "Hi?")


def read(tmp_path: Path, *rows: dict, **config: object) -> tuple[list[Group], list[BadRecord]]:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    bad: list[BadRecord] = []
    source = SourceConfig(path=str(path), **config)
    return list(read_source(source, bad.append, max_bad_share=1)), bad


@pytest.mark.parametrize("name", WRAPPED)
def test_a_template_in_the_prompt_is_refused_by_default(tmp_path: Path, name: str) -> None:
    groups, bad = read(tmp_path, {"prompt": WRAPPED[name], "chosen": "yes", "rejected": "no"})
    assert not groups
    assert "the prompt already holds a chat template (" in bad[0].reason
    assert "set `chat_markup: unwrap`" in bad[0].reason


@pytest.mark.parametrize("name", WRAPPED)
def test_unwrapping_gives_the_turns_back(tmp_path: Path, name: str) -> None:
    row = {"prompt": WRAPPED[name], "chosen": "Yes.</s>", "rejected": "No.<|im_end|>\n"}
    groups, bad = read(tmp_path, row, chat_markup="unwrap")
    assert not bad
    assert groups[0].prompt == ((USER,) if name in WITHOUT_SYSTEM else (SYSTEM, USER))
    assert groups[0].responses == ("Yes.", "No.")


@pytest.mark.parametrize(
    "response",
    ["Yes.<|im_end|>\n", "Yes.</s>", "Yes.<|eot_id|><|im_start|>user\nMore", "A [INST] b"],
)
def test_a_template_in_a_response_is_refused(tmp_path: Path, response: str) -> None:
    groups, bad = read(tmp_path, {"prompt": "Hi?", "chosen": response, "rejected": "no"})
    assert not groups and "a response already holds a chat template (" in bad[0].reason


def test_a_conversation_inside_one_message_is_noticed_and_unwrapped(tmp_path: Path) -> None:
    text = "\n\nHuman: Hi?\n\nAssistant: Yes.\n\nHuman: Sure?\n\nAssistant:"
    row = {"prompt": [{"role": "user", "content": text}], "chosen": "a", "rejected": "b"}
    assert "(HH-RLHF)" in read(tmp_path, row)[1][0].reason
    groups, _ = read(tmp_path, row, chat_markup="unwrap")
    turns = [("user", "Hi?"), ("assistant", "Yes."), ("user", "Sure?")]
    assert list(groups[0].prompt) == turns


def test_whole_dialogues_are_pairs_with_their_shared_prompt(tmp_path: Path) -> None:
    chosen, rejected = (f"{CHATML}<|im_start|>assistant\n{word}<|im_end|>" for word in "ab")
    groups, bad = read(tmp_path, {"chosen": chosen, "rejected": rejected}, chat_markup="unwrap")
    assert not bad and groups[0].prompt == (SYSTEM, USER) and groups[0].responses == ("a", "b")


def test_an_answer_that_runs_on_is_not_taken_for_a_conversation(tmp_path: Path) -> None:
    text = "Yes.<|im_end|>\n<|im_start|>user\nAnd?"
    row = {"prompt": "Hi?", "chosen": text, "rejected": "no"}
    groups, bad = read(tmp_path, row, chat_markup="unwrap")
    assert not groups and "(ChatML)" in bad[0].reason


@pytest.mark.parametrize(
    "text",
    [
        "Is 3 > 2? Use `a |> f` and <b>bold</b> and <s>old</s> text.",
        "### Instructions\n1. Mix.\n\n### Notes: none",
        "Robot: Hi there!\n\nHuman: I need help.",
        "Human: hi",
        "an array[INST_COUNT]",
    ],
)
def test_ordinary_text_is_no_template(tmp_path: Path, text: str) -> None:
    row = {"prompt": [{"role": "user", "content": text}], "chosen": text, "rejected": "no"}
    for setting in ("refuse", "unwrap"):
        groups, bad = read(tmp_path, row, chat_markup=setting)
        assert not bad and groups[0].responses[0] == groups[0].prompt[0].content == text


def test_kept_text_is_as_it_was(tmp_path: Path) -> None:
    row = {"prompt": WRAPPED["chatml"], "chosen": "yes", "rejected": "no"}
    groups, _ = read(tmp_path, row, chat_markup="keep")
    assert groups[0].prompt[0].content == WRAPPED["chatml"].strip()


def test_an_input_belongs_to_its_instruction() -> None:
    text = ALPACA + "### Input:\n1 2\n\n### Response:\n3"
    turns = [("user", "Hi?\n\n1 2"), ("assistant", "3")]
    messages = [{"role": role, "content": content} for role, content in turns]
    assert unwrapped({"text": text, "n": 1}) == {"text": messages, "n": 1}


def test_a_cue_is_cut_so_that_a_post_is_one_prompt_in_both_sets(tmp_path: Path) -> None:
    """Rows as CarperAI published them; an id of the user's own stays."""
    post = "SUBREDDIT: r/maths\nTITLE: Sum\nPOST: 2 + 2?"
    pair = {"prompt": post, "chosen": "TL;DR:  four.", "rejected": "TL;DR: five."}
    (compared,), _ = read(tmp_path, pair, cue="TL;DR:")
    assert compared.responses == ("four.", "five.")
    demonstration = {"prompt": f"{post}\nTL;DR:", "label": "Four."}
    (shown,), _ = read(tmp_path, demonstration, cue="TL;DR:", fields={"completion": "label"})
    assert (shown.prompt, shown.id) == (compared.prompt, compared.id)
    own = {"id": "post 7", "prompt": [{"role": "user", "content": f"{post} TL;DR:"}]}
    (kept,), _ = read(tmp_path, own | {"responses": ["four."]}, cue="TL;DR:")
    assert (kept.prompt, kept.id) == (compared.prompt, "post 7")
