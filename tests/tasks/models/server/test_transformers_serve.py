"""Sampling through a real server, `transformers serve`, of a tiny model with strong weights."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
import torch

from tasks.data.groups import Group, Message
from tasks.endpoints.accounts import Account
from tasks.endpoints.answers import Outcome
from tasks.endpoints.ledger import Ledger
from tasks.endpoints.paid_calls import PaidCalls
from tasks.evaluation.judging.config import JudgeConfig
from tasks.evaluation.judging.matchup import judge_pairs
from tasks.evaluation.judging.verdicts import Pair
from tasks.gold.collection import GoldConfig, collect
from tasks.models.architecture import ArchitectureConfig, build_policy
from tasks.models.sampling.config import SamplingConfig, ServerConfig
from tasks.models.sampling.generation import Completion, sample
from tasks.models.server.process import ModelServer, model_server
from tasks.models.server.sampling import sample_from_server
from tasks.models.tokens.encoding import encode_prompt
from tasks.models.tokens.tokenizer import load_tokenizer
from tasks.processes.child import find_program
from tasks.settings.errors import ConfigError
from tasks.settings.log import NullLog
from tasks.storage.home import Home
from tasks.storage.workspace import Workspace
from tests.tasks.models.conftest import SHAPE
from tests.tasks.models.sampling.test_generation import PROMPTS, sharpen
from tests.tasks.models.server.test_process import Notes, are_gone, family

pytestmark = pytest.mark.real
COMMAND = "transformers serve {model} --host 127.0.0.1 --port {port} --device cpu"


class Saved(NamedTuple):
    """A model and its folder."""

    folder: Path
    model: Any
    tokenizer: Any


class Served(NamedTuple):
    """A running server and what it serves."""

    server: ModelServer
    model: Any
    tokenizer: Any


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path) -> Saved:
    try:
        find_program("transformers")
    except ConfigError as error:
        pytest.skip(str(error))
    if missing := [name for name in ("openai", "uvicorn") if not importlib.util.find_spec(name)]:
        pytest.skip(f"transformers serve needs {missing}: pip install transformers[serving]")
    tokenizer: Any = load_tokenizer(tokenizer_folder)
    model: Any = build_policy(ArchitectureConfig(kind="llama", **SHAPE), tokenizer, 1)
    sharpen(model)
    folder = tmp_path_factory.mktemp("served")
    model.save_pretrained(folder / "model")
    tokenizer.chat_template = "{% for turn in messages %}{{ turn.content }}{% endfor %}"
    tokenizer.save_pretrained(folder / "model")
    return Saved(folder / "model", model, tokenizer)


@pytest.fixture(scope="module")
def running(saved: Saved, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    # With one request at a time its seeds count.
    config = ServerConfig(command=COMMAND, concurrency=1)
    folder = tmp_path_factory.mktemp("server")
    with model_server(config, saved.folder, folder=folder, log=Notes()) as server:
        processes = family(server)
        yield Served(server, saved.model, saved.tokenizer)
    assert are_gone(processes, 0)
    assert all("transformers" not in " ".join(p.cmdline()) for p in psutil.Process().children())


@pytest.fixture
def ask(running: Served) -> Callable[..., list[list[Completion]]]:
    """Samples the prompts: `ask(template="hh", seed=0, **sampling)`."""

    def call(template: str = "hh", seed: int = 0, **sampling: Any) -> list[list[Completion]]:
        config = SamplingConfig(**{"samples": 1, "max_new_tokens": 12, **sampling})
        return sample_from_server(
            running.server, running.tokenizer, template, PROMPTS, config, seed
        )

    return call


def generated(running: Served, prompt: tuple[Message, ...], tokens: int) -> list[int]:
    """Greedy ids by transformers' own loop, in this process."""
    ids = torch.tensor([encode_prompt(running.tokenizer, "hh", prompt, 100)[0]])
    full = running.model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False
    )
    return full[0, ids.shape[1] :].tolist()


def test_greedy_is_what_generate_and_our_own_engine_draw(running: Served, ask: Any) -> None:
    rows = ask(temperature=0.0)
    config = SamplingConfig(samples=1, max_new_tokens=12, temperature=0.0)
    ours = sample(running.model, running.tokenizer, "hh", PROMPTS, config, 0)
    for prompt, (found,), (own,) in zip(PROMPTS, rows, ours, strict=True):
        ids = generated(running, prompt, 12)
        text = running.tokenizer.decode(ids, skip_special_tokens=True).strip()
        assert (found.text, found.tokens) == (text, len(ids)) == (own.text, own.tokens)
    assert len({row[0].text for row in rows}) == len(PROMPTS)


def test_draws_take_notice_of_temperature_top_k_and_seed(ask: Any) -> None:
    drawn = ask(samples=4, seed=5)
    assert all(len({one.text for one in row}) == 4 for row in drawn)
    assert ask(samples=4, seed=5) == drawn
    assert ask(samples=4, seed=6) != drawn
    greedy = ask(temperature=0.0)
    assert [row[:1] for row in ask(samples=2, top_k=1)] == greedy
    assert [row[:1] for row in ask(samples=2, top_p=1e-6)] == greedy


def test_stop_strings_end_a_response_and_are_cut_off(ask: Any) -> None:
    whole = ask("plain", temperature=0.0)
    for (row,) in whole:
        stop = row.text[2:4]
        found = ask("plain", temperature=0.0, stop=(stop,))
        (ended,) = found[whole.index([row])]
        assert ended.text == row.text[: row.text.index(stop)]
        assert ended.ended and ended.tokens <= row.tokens


def test_eos_ends_a_response(running: Served, ask: Any) -> None:
    drawn = [one for row in ask("plain", samples=16, temperature=3.0) for one in row]
    ended = [one for one in drawn if one.ended]
    assert 0 < len(ended) < len(drawn)
    assert all(one.tokens < 12 for one in ended)
    assert all(one.tokens == 12 for one in drawn if not one.ended)
    assert not any(running.tokenizer.eos_token in one.text for one in drawn)


def test_gold_and_verdicts_come_through_it_too(running: Served, home: Home) -> None:
    """A toy's words: some are cut off, which is no gold, and none is in a judge's form."""
    endpoint = {
        "url": f"{running.server.url}/v1",
        "model": running.server.model_name,
        "price": {"prompt": 0, "completion": 0},
        "concurrency": 1,
        "patience": {"retries": 0},
    }
    queries = [Group((Message("user", f"{number} apples?"),)) for number in range(8)]
    # So many ids end an answer that some of them end in time.
    drawn = {"do_sample": True, "eos_token_id": list(range(50))}
    server = {
        "endpoint": endpoint,
        "max_tokens": 30,
        "temperature": 3.0,
        "parameters": {"seed": 1, "generation_config": json.dumps(drawn)},
    }
    gold = GoldConfig(provider="server", server=server, max_unanswered_share=1)  # type: ignore[arg-type]
    me, work = Account("run", "stage", "work"), Workspace(home.root / "work")
    found, counts = collect(gold, queries, None, work, NullLog(), me)
    assert len(found) == counts["answered"] and counts["requests"] >= 8
    assert counts["answered"] + counts["unanswered"] == 8 and counts["completion_tokens"] > 4
    pairs = {group.id: Pair(group.prompt, "some", "none at all") for group in queries[:2]}
    judge = JudgeConfig.model_validate({"endpoint": endpoint, "max_tokens": 12})
    ledger = Ledger(home.ledger)
    with PaidCalls(judge.endpoint, ledger, me) as calls:
        judged = list(judge_pairs(pairs, judge, calls, NullLog()))
    assert [one.judgement.outcome for one in judged] == ["invalid", "invalid"]
    outcomes = {entry.outcome for entry in ledger.entries()}
    assert outcomes <= {Outcome.answered, Outcome.truncated, Outcome.empty}


def test_continuous_batching(saved: Saved, tmp_path: Path) -> None:
    """It takes ends and settings from elsewhere, and knows no stop strings."""
    # Left alone it takes nearly all memory for its cache.
    little = "--cb-block-size 32 --cb-num-blocks 64 --cb-max-batch-tokens 256"
    config = ServerConfig(command=f"{COMMAND} --continuous-batching {little}")
    sampling = SamplingConfig(samples=32, max_new_tokens=30, temperature=3.0, stop=("e",))
    with model_server(config, saved.folder, folder=tmp_path, log=Notes()) as server:
        drawn = sample_from_server(server, saved.tokenizer, "plain", PROMPTS, sampling, 0)
        processes = family(server)
    assert are_gone(processes, 0)
    row = [one for row in drawn for one in row]
    assert any(one.ended and one.tokens < 30 for one in row)
    assert any(not one.ended for one in row)
    assert len({one.text for one in row}) > len(row) / 2
    assert not any("e" in one.text or "<eos>" in one.text for one in row)
