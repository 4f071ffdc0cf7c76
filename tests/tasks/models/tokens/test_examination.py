"""What of the data a model will not see, counted by its own tokenizer before training."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.data.files import write_groups
from tasks.data.groups import Group, Message
from tasks.data.sources.chat_markup import without_cue
from tasks.models.tokens.encoding import Limits, encode_prompt
from tasks.models.tokens.examination import ExaminationConfig, examine
from tasks.models.tokens.tokenizer import load_tokenizer
from tasks.settings.errors import ConfigError
from tasks.settings.log import NullLog
from tasks.storage.files import read_json, write_json

TABLE = {
    "read": 1200,
    "bad_records": 2,
    "dropped": {
        "read": {"not chosen": 3},
        "preferences": {"duplicate": 4},
        "test": {"duplicate": 1, "in_rm_queries": 1},
    },
}


def group(prompt: str, *responses: str) -> Group:
    return Group((Message("user", prompt),), responses)


def test_what_is_left_out_and_cut_is_one_sentence(tokenizer_folder: Path, tmp_path: Path) -> None:
    """Of 4 prompts one is too long; of 4 responses that are trained on one is."""
    tokenizer = load_tokenizer(tokenizer_folder)
    long = "what is 8 plus 8? " * 30
    whole, _ = encode_prompt(tokenizer, "hh", group(long).prompt, 1 << 20)
    write_groups(tmp_path / "sft", [group("a", "it is 2"), group(long, "it is 3, sir")])
    write_groups(tmp_path / "rm", [group("b", "it is 4", long)])
    write_groups(tmp_path / "test", [group("c", long, long)])
    write_json(tmp_path / "table1.json", TABLE)
    limits = Limits(max_prompt_tokens=64, max_response_tokens=64)
    config = ExaminationConfig(
        template="hh", limits={"sft": limits, "rm": limits}, prompts={"test": limits}
    )
    said: list[str] = []
    log = NullLog()
    log.note = said.append  # type: ignore[method-assign]
    metrics = examine(
        tmp_path / "table1.json",
        {name: tmp_path / name for name in ("sft", "rm", "test")},
        tokenizer_folder,
        config,
        tmp_path / "out",
        log,
    )
    assert metrics == {
        "read": 1200,
        "left_out": 11,
        "truncated_prompts": 0.25,
        "longest_prompt": len(whole),
        "responses_without_eos": 0.25,
    }
    assert said == [
        "data: 1,200 records read, 11 left out (5 duplicate, 3 not chosen, 2 unreadable, 1 in rm "
        f"queries); 25.0% of prompts lose their beginning (the longest has {len(whole):,} tokens), "
        "25.0% of responses are without EOS"
    ]
    assert read_json(tmp_path / "out" / "examination.json")["sentence"] == said[0]


@pytest.mark.parametrize("template", ["plain", "hh"])
def test_nothing_is_lost_where_all_fits(
    tokenizer_folder: Path, tmp_path: Path, template: str
) -> None:
    write_groups(tmp_path / "sft", [group("a", "it is 2")])
    write_json(tmp_path / "table1.json", {"read": 1, "bad_records": 0, "dropped": {}})
    config = ExaminationConfig(template=template, limits={"sft": Limits()})
    metrics = examine(
        tmp_path / "table1.json",
        {"sft": tmp_path / "sft"},
        tokenizer_folder,
        config,
        tmp_path / "out",
        NullLog(),
    )
    assert (metrics["left_out"], metrics["truncated_prompts"]) == (0, 0)
    assert metrics["responses_without_eos"] == 0
    sentence = read_json(tmp_path / "out" / "examination.json")["sentence"]
    assert sentence.startswith("data: 1 records read, none left out; 0.0% of prompts lose")


POST, CUE = "SUBREDDIT: r/maths\nTITLE: Sum\nPOST: 2 + 2?", "TL;DR:"


def examined(tokenizer_folder: Path, folder: Path, template: str, **parts: Group) -> None:
    for name, one in parts.items():
        write_groups(folder / name, [one])
    write_json(folder / "table1.json", {"read": 2, "bad_records": 0, "dropped": {}})
    config = ExaminationConfig(template=template, limits=dict.fromkeys(parts, Limits()))
    paths = {name: folder / name for name in parts}
    examine(folder / "table1.json", paths, tokenizer_folder, config, folder / "out", NullLog())


def test_what_the_template_writes_is_refused_in_the_data(
    tokenizer_folder: Path, tmp_path: Path
) -> None:
    """As the two sets of TL;DR are published: one has it before answers, one after prompts."""
    pairs = group(POST, f"{CUE} four.", f"{CUE} five.")
    demonstrations = group(f"{POST}\n{CUE}", "four.")
    with pytest.raises(ConfigError, match="2 responses of pairs begin with what .*set `cue` of"):
        examined(tokenizer_folder, tmp_path / "a", "tldr", pairs=pairs)
    cut = without_cue(pairs, CUE)
    with pytest.raises(ConfigError, match="prompts of sft end with .* and those of pairs do not"):
        examined(tokenizer_folder, tmp_path / "b", "tldr", pairs=cut, sft=demonstrations)
    same = without_cue(demonstrations, CUE)
    assert same.id == cut.id and cut.responses == ("four.", "five.")
    examined(tokenizer_folder, tmp_path / "c", "tldr", pairs=cut, sft=same)
    examined(tokenizer_folder, tmp_path / "d", "plain", pairs=pairs, sft=demonstrations)
