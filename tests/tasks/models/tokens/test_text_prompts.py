"""Prompts are the first tokens of texts, each in one part, whatever the order of the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.data.files import read_groups, write_groups
from tasks.data.groups import Group, finished
from tasks.data.splits import check_disjoint
from tasks.models.tokens.encoding import encode_prompt
from tasks.models.tokens.text_prompts import BeginningsConfig, cut_beginnings
from tasks.settings.errors import ConfigError
from tasks.settings.log import NullLog

PARTS = ("train", "dev", "test")


def text_groups(*texts: str) -> list[Group]:
    return [
        Group((), (text,), sources=("human",), id=f"{number:032x}", extra={"record": number})
        for number, text in enumerate(texts)
    ]


@pytest.fixture
def many(tmp_path: Path) -> Path:
    texts = [f"what is {i} plus {j}? it is {i + j}, sir" for i in range(6) for j in range(6)]
    write_groups(tmp_path / "texts", text_groups(*texts))
    return tmp_path / "texts"


def config(**given: int | None) -> BeginningsConfig:
    sizes = {"tokens": 8, "train_prompts": 10, "dev_prompts": 4, "test_prompts": 6}
    return BeginningsConfig(**sizes | given)


def cut(tokenizer_folder: Path, texts: Path, output: Path, **given: int) -> dict[str, float]:
    return cut_beginnings(tokenizer_folder, texts, config(**given), output, NullLog())


def test_a_prompt_is_the_first_tokens_and_the_rest_follows(
    tokenizer_folder: Path, tokenizer: Any, many: Path, tmp_path: Path
) -> None:
    metrics = cut(tokenizer_folder, many, tmp_path / "out")
    sources = {group.extra["record"]: group.responses[0] for group in read_groups(many)}
    for part in PARTS:
        groups = list(read_groups(tmp_path / "out" / part))
        assert metrics[part] == len(groups) == getattr(config(), f"{part}_prompts")
        for group in groups:
            ((role, beginning),) = group.prompt
            assert role == "user"
            assert beginning + group.responses[0] == sources[group.extra["record"]]
            ids, was_cut = encode_prompt(tokenizer, "plain", group.prompt, 40)
            assert len(ids) == 1 + 8 and not was_cut  # BOS and the eight
            assert finished(group) == (True,) and group.sources == ("human",)


def test_no_prompt_is_in_two_parts_or_twice(
    tokenizer_folder: Path, many: Path, tmp_path: Path
) -> None:
    cut(tokenizer_folder, many, tmp_path / "out")
    pairs = [("train", "dev"), ("train", "test"), ("dev", "test")]
    prompts = check_disjoint({part: tmp_path / "out" / part for part in PARTS}, pairs)
    assert prompts == {"train": 10, "dev": 4, "test": 6}


def test_texts_that_give_no_prompt_are_counted(tokenizer_folder: Path, tmp_path: Path) -> None:
    """Two begin alike, one is short, one is cut in the middle of a character of four bytes."""
    texts = ["what is 3 plus 4? 7", "what is 3 plus 4? no", "yes", "🎉🎉🎉 is what it is", "a" * 20]
    write_groups(tmp_path / "texts", text_groups(*texts))
    sizes = {"tokens": 6, "train_prompts": 1, "dev_prompts": 0, "test_prompts": 1}
    metrics = cut(tokenizer_folder, tmp_path / "texts", tmp_path / "few", **sizes)
    assert metrics["train"] == metrics["test"] == 1 and metrics["dev"] == 0
    few = "only 1 train prompts of 6 tokens .*1 texts too short, 1 that begin like another, 1 cut"
    with pytest.raises(ConfigError, match=few):
        cut(tokenizer_folder, tmp_path / "texts", tmp_path / "many", **sizes | {"train_prompts": 9})
    assert not (tmp_path / "many/train/index.json").exists()


def test_test_prompts_of_other_texts_and_all_the_rest_to_train_on(
    tokenizer_folder: Path, many: Path, tmp_path: Path
) -> None:
    """The others' six texts give the test prompts; one that begins like a text here is in test."""
    others = [f"what was {i} times 4? {i}" for i in range(5)] + ["what is 0 plus 0? nothing"]
    write_groups(tmp_path / "others", text_groups(*others))
    settings, output = config(train_prompts=None), tmp_path / "out"
    metrics = cut_beginnings(
        tokenizer_folder, many, settings, output, NullLog(), tmp_path / "others"
    )
    assert (metrics["test"], metrics["dev"]) == (6, 4)
    assert metrics["train"] == 36 - 4 - metrics["dropped/repeated"]
    asked = {group.prompt[0].content for group in read_groups(output / "test")}
    assert all(any(text.startswith(one) for text in others) for one in asked)
    assert asked.isdisjoint(group.prompt[0].content for group in read_groups(output / "train"))
    with pytest.raises(ConfigError, match="only 6 test prompts of 8 tokens"):
        more = config(test_prompts=7)
        cut_beginnings(
            tokenizer_folder, many, more, tmp_path / "more", NullLog(), tmp_path / "others"
        )


def test_test_stays_when_train_grows_or_the_file_is_sorted_otherwise(
    tokenizer_folder: Path, many: Path, tmp_path: Path
) -> None:
    cut(tokenizer_folder, many, tmp_path / "one")
    cut(tokenizer_folder, many, tmp_path / "more", train_prompts=20)
    write_groups(tmp_path / "reversed", reversed(list(read_groups(many))))
    cut(tokenizer_folder, tmp_path / "reversed", tmp_path / "two")
    for part in PARTS:
        one, two, more = (
            [group.id for group in read_groups(tmp_path / name / part)]
            for name in ("one", "two", "more")
        )
        assert one == two == more[: len(one)]
    cut(tokenizer_folder, many, tmp_path / "seeded", seed=1)
    ids = [[g.id for g in read_groups(tmp_path / name / "test")] for name in ("one", "seeded")]
    assert ids[0] != ids[1]


def test_other_groups_than_texts_are_refused(tokenizer_folder: Path, tmp_path: Path) -> None:
    write_groups(tmp_path / "pairs", [Group((), ("a", "b"), id="p")])
    with pytest.raises(
        ConfigError, match="2 responses in the group p “.*”; prompts are cut off texts"
    ):
        cut(tokenizer_folder, tmp_path / "pairs", tmp_path / "out")
    with pytest.raises(ConfigError, match="tokenizer"):
        cut(tmp_path, tmp_path / "pairs", tmp_path / "other")
