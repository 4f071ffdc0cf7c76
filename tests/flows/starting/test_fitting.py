"""Lengths, template and division come from the user's data and model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import LlamaConfig

from flows.starting.fitting import fit
from flows.starting.questions import Answers
from tasks.data.groups import Group, Message
from tasks.data.inspection.spread import Spread
from tasks.data.splits import place
from tasks.gold.collection import hold_out
from tasks.models.tokens.tokenizer import train_tokenizer
from tasks.settings.errors import ConfigError


def pairs_file(folder: Path, count: int, *, words: int = 3) -> Path:
    path = folder / f"pairs-{count}.jsonl"
    rows = (
        {"prompt": f"Question {n}? " + "word " * words, "chosen": f"Yes {n}.", "rejected": "No."}
        for n in range(count)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def answers(path: Path, **changes: object) -> Answers:
    return Answers("apo", (path,), None, "small", "chosen", None)._replace(**changes)


def test_limits_hold_the_longest_in_tokens_of_the_model(tmp_path: Path) -> None:
    path = pairs_file(tmp_path, 50)
    found = fit(answers(path))
    (file,) = found.report.files
    assert file.groups == 50 and file.format == "pairs"
    assert file.tokens.prompt.longest <= found.max_prompt_tokens < file.tokens.prompt.longest + 32
    assert file.tokens.response.longest <= found.max_response_tokens
    assert found.template == "hh"


def test_what_is_too_long_is_cut_at_the_models_context(tmp_path: Path) -> None:
    with (pairs_file(tmp_path, 20)).open("a") as more:
        more.write(json.dumps({"prompt": "é" * 9000, "chosen": "ü" * 9000, "rejected": "no"}))
    found = fit(answers(tmp_path / "pairs-20.jsonl"))
    assert found.max_prompt_tokens + found.max_response_tokens <= 512


@pytest.mark.parametrize("count", [4, 7, 40])
@pytest.mark.parametrize("has_test", [False, True])
def test_however_few_prompts_there_are_no_part_is_empty(
    tmp_path: Path, count: int, has_test: bool
) -> None:
    path = pairs_file(tmp_path, count)
    test = pairs_file(tmp_path, 3) if has_test else None
    split = fit(answers(path, test=test)).split
    prompts = [json.loads(line)["prompt"].strip() for line in path.read_text().splitlines()]
    groups = [Group((Message("user", text),)) for text in prompts]
    placed = [place(group.prompt, split, cut_test=not has_test) for group in groups]
    parts = {part for found in placed for part in found}
    assert parts == {"rm_train", "policy_train", "dev"} | (set() if has_test else {"test"})
    assert all(hold_out([g for g, p in zip(groups, placed, strict=True) if "rm_train" in p], 0.2))


def test_too_few_prompts_are_refused_with_their_number(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="1 distinct prompts are too few to divide"):
        fit(answers(pairs_file(tmp_path, 1)))


def test_a_file_without_pairs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "a"}\n', "utf-8")
    with pytest.raises(ConfigError, match="no pairs can be read; `sparring doctor --data` says"):
        fit(answers(path))


@pytest.mark.parametrize("missing", ["data", "test", "gold", "model"])
def test_what_is_not_there_is_named(tmp_path: Path, missing: str) -> None:
    here = pairs_file(tmp_path, 20)
    given = {"data": (Path("./no-such"),), "test": Path("./no-such")}
    wrong = answers(here, **{missing: given.get(missing, "./no-such")})
    with pytest.raises(ConfigError, match="no-such"):
        fit(wrong)


def test_a_model_brings_its_template_and_what_it_refuses_is_left_out(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(iter(["Question? word"]), 300, tmp_path / "model")
    tokenizer.chat_template = (
        "{%- if messages[0]['role'] != 'user' -%}{{ raise_exception('no system') }}{%- endif -%}"
        "{{ bos_token + messages[0]['content'] }}"
    )
    tokenizer.save_pretrained(tmp_path / "model")
    LlamaConfig(max_position_embeddings=96).save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").touch()
    path = pairs_file(tmp_path, 300)
    system = [{"role": "system", "content": "x"}, {"role": "user", "content": "y"}]
    with path.open("a", encoding="utf-8") as more:
        more.write(json.dumps({"prompt": system, "chosen": "a", "rejected": "b"}))
    found = fit(answers(path, model=str(tmp_path / "model")))
    assert found.template is None
    assert (found.report.files[0].groups, found.report.files[0].bad_records) == (300, 1)
    assert found.max_prompt_tokens + found.max_response_tokens <= 96


def test_a_small_models_tokenizer_has_not_seen_dev_and_test(tmp_path: Path) -> None:
    """What is rare is longer in tokens then, and the limits hold that too."""
    path, words = tmp_path / "pairs.jsonl", "kettle sparrow marble lantern whistle bramble".split()
    rows = [{"prompt": f"{word} " * 4, "chosen": "a", "rejected": "b"} for word in words]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    knows_all = train_tokenizer((row["prompt"] for row in rows), 1024, tmp_path / "all")
    longest = max(len(knows_all.encode(row["prompt"])) for row in rows)
    found = fit(answers(path))
    spread = found.report.files[0].tokens.prompt
    assert spread.longest > 2 * longest and found.max_prompt_tokens >= spread.longest


def test_a_spread_with_a_far_tail_is_cut_at_its_twentieth() -> None:
    from flows.starting.fitting import _limit

    assert _limit(Spread(10.0, 9, 20, 30), 512) == 48
    assert _limit(Spread(90.0, 80, 200, 9000), 512) == 224
    assert _limit(Spread(90.0, 80, 200, 9000), 112) == 112
