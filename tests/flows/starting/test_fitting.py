"""Lengths, template and division come from the user's data and model."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace

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


def pairs_file(folder: Path, count: int, *, words: int = 3, first: int = 0) -> Path:
    path = folder / f"pairs-{count}.jsonl"
    rows = (
        {"prompt": f"Question {n}? " + "word " * words, "chosen": f"Yes {n}.", "rejected": "No."}
        for n in range(first, first + count)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def unlike(number: int, characters: int) -> str:
    """Return a text of which no two pieces are alike, so that few of its letters are one token."""
    draws = random.Random(number)
    return "".join(chr(draws.randrange(0x3400, 0x9000)) for _ in range(characters))


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


def test_what_is_too_long_is_cut_at_what_a_small_model_is_given(tmp_path: Path) -> None:
    with (pairs_file(tmp_path, 4)).open("a") as more:
        for n in range(4):
            row = {"prompt": unlike(n, 600), "chosen": unlike(n + 9, 600), "rejected": "no"}
            more.write(json.dumps(row) + "\n")
    found = fit(answers(tmp_path / "pairs-4.jsonl"))
    assert found.max_prompt_tokens + found.max_response_tokens == found.context == 1024
    assert found.max_new_tokens == 256
    assert list(found.about_limits()) == [
        "limits: prompts 512 tokens, 50.0% are longer and lose their beginning;",
        "        responses 512 tokens, 25.0% are longer and lose their end",
        "        so many are cut because both together may have 1,024 tokens",
        "samples: up to 256 tokens",
    ]


@pytest.mark.parametrize("characters", [60, 150])
def test_limits_hold_all_but_a_twentieth_where_the_context_lets_them(
    tmp_path: Path, characters: int
) -> None:
    """Answers longer than a third of the context used to lose their end in silence."""
    path = tmp_path / "pairs.jsonl"
    rows = (
        {"prompt": f"Q{n}?", "chosen": unlike(n, characters), "rejected": f"N{n}."}
        for n in range(40)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    found = fit(answers(path))
    (tokens,) = (file.tokens for file in found.report.files)
    assert tokens.truncated_responses <= 0.05 and tokens.truncated_prompts <= 0.05
    assert found.max_response_tokens > 512 // 3 or characters == 60
    assert found.max_new_tokens == min(found.max_response_tokens, 256)
    assert len(list(found.about_limits())) == 3, "no limit is bound"


@pytest.mark.parametrize("count", [4, 7, 40])
@pytest.mark.parametrize("has_test", [False, True])
def test_however_few_prompts_there_are_no_part_is_empty(
    tmp_path: Path, count: int, has_test: bool
) -> None:
    path = pairs_file(tmp_path, count)
    test = pairs_file(tmp_path, 3, first=100) if has_test else None
    split = fit(answers(path, test=test)).split
    prompts = [json.loads(line)["prompt"].strip() for line in path.read_text().splitlines()]
    groups = [Group((Message("user", text),)) for text in prompts]
    placed = [place(group.prompt, split, cut_test=not has_test) for group in groups]
    parts = {part for found in placed for part in found}
    assert parts == {"rm_train", "policy_train", "dev"} | (set() if has_test else {"test"})
    assert all(hold_out([g for g, p in zip(groups, placed, strict=True) if "rm_train" in p], 0.2))


def test_too_few_prompts_are_refused_with_their_number(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"too few distinct prompts to divide \(1\)"):
        fit(answers(pairs_file(tmp_path, 1)))


def test_a_file_without_pairs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "a"}\n', "utf-8")
    with pytest.raises(ConfigError, match="no pairs to learn from; `sparring doctor --data` says"):
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


def test_prompts_give_way_where_the_context_is_short() -> None:
    from flows.starting.fitting import _limit, _limits

    short, long = Spread(10.0, 9, 20, 30), Spread(90.0, 80, 200, 9000)
    assert (_limit(short), _limit(long)) == (48, 224)
    for context, prompt, response in ((512, 224, 224), (300, 156, 144), (96, 48, 48)):
        limits = _limits([SimpleNamespace(prompt=long, response=long)], context)
        assert (limits.max_prompt_tokens, limits.max_response_tokens) == (prompt, response)
    limits = _limits([SimpleNamespace(prompt=short, response=long)], 256)
    assert (limits.max_prompt_tokens, limits.max_response_tokens) == (48, 208)
