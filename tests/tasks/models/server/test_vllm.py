"""Sampling the pretrained model through vLLM: what `make model` and `make vllm` leave, together."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from tasks.data.files import read_groups, write_groups
from tasks.data.groups import Group, Message
from tasks.models.policy import load_policy
from tasks.models.sample_shards import RolloutConfig, sample_in_shards
from tasks.models.sampling.config import SamplingConfig, ServerConfig
from tasks.models.sampling.generation import Completion, sample
from tasks.models.server.process import ModelServer, model_server
from tasks.models.server.sampling import sample_from_server
from tasks.models.tokens.encoding import encode_prompt
from tasks.models.tokens.tokenizer import load_tokenizer
from tasks.settings.log import NullLog
from tasks.storage.workspace import Workspace
from tests.tasks.models.server.test_process import Notes, are_gone, family

pytestmark = [pytest.mark.slow, pytest.mark.real]
ROOT = Path(__file__).parents[4]
PROGRAM, MODEL = ROOT / ".venv-vllm/bin/vllm", ROOT / "models/smollm2-135m-instruct"
# In fp32, so that rounding does not choose the tokens.
SERVER = ServerConfig(
    command=f"{PROGRAM} serve {{model}} --host 127.0.0.1 --port {{port}} --dtype float32 "
    "--max-model-len 512 --enforce-eager",
    environment={"VLLM_CPU_KVCACHE_SPACE": "1"},
)
PROMPTS = [
    (Message("user", text),)
    for text in (
        "What is the capital of France?",
        "Name three fruits.",
        "Write one sentence about the sea.",
        "How many legs does a spider have?",
    )
]
TOKENS = 32


class Served(NamedTuple):
    """A running server, and the same model in this process."""

    server: ModelServer
    model: Any
    tokenizer: Any


@pytest.fixture(scope="module", autouse=True)
def _made() -> None:
    for path, target in ((PROGRAM, "vllm"), (MODEL, "model")):
        if not path.exists():
            pytest.skip(f"needs {path.relative_to(ROOT)}: `make {target}` makes it")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("vllm")
    with model_server(SERVER, MODEL, folder=folder, log=Notes()) as server:
        processes = family(server)
        yield Served(server, load_policy(MODEL, dtype="float32"), load_tokenizer(MODEL))
    assert are_gone(processes, 0)


def config(samples: int, temperature: float) -> SamplingConfig:
    return SamplingConfig(
        samples=samples, temperature=temperature, max_new_tokens=TOKENS, precision="fp32"
    )


def test_greedy_is_what_our_own_engine_draws(served: Served) -> None:
    asked = (served.tokenizer, None, PROMPTS, config(1, 0.0), 0)
    theirs, ours = sample_from_server(served.server, *asked), sample(served.model, *asked)
    print([row[0].text for row in theirs])
    assert theirs == ours
    assert "Paris" in theirs[0][0].text, "it answers sensibly"


def test_its_draws_are_as_likely_as_our_own(served: Served) -> None:
    """Nats per token of either engine's draws under the same plain forward pass, by prompt."""
    asked = (served.tokenizer, None, PROMPTS, config(16, 1.0), 0)
    theirs = likelihoods(served, sample_from_server(served.server, *asked))
    ours = likelihoods(served, sample(served.model, *asked))
    apart = statistics.mean(map(statistics.mean, theirs)) - statistics.mean(
        map(statistics.mean, ours)
    )
    spread = sum(statistics.variance(one) / len(one) for one in theirs + ours)
    error = math.sqrt(spread) / len(PROMPTS)
    print(f"apart by {apart:.3f} ± {error:.3f} nats a token")
    # Drawn at another temperature, or behind another prompt, they would be further apart.
    assert abs(apart) < 4 * error < 0.8


def likelihoods(served: Served, rows: Sequence[Sequence[Completion]]) -> list[list[float]]:
    """Return the mean log-probability of each response's tokens, EOS included, by prompt."""
    found: list[list[float]] = []
    for prompt, row in zip(PROMPTS, rows, strict=True):
        start = encode_prompt(served.tokenizer, None, prompt, 400)[0]
        assert len({one.text for one in row}) > len(row) / 2
        found.append([])
        for one in row:
            assert one.ids is not None and len(one.ids) == one.tokens <= TOKENS
            assert one.ended == (one.ids[-1] == served.tokenizer.eos_token_id)
            with torch.inference_mode():
                logits = served.model(torch.tensor([[*start, *one.ids]])).logits[0]
            logps = logits[len(start) - 1 : -1].log_softmax(dim=-1)
            found[-1].append(float(logps.gather(1, torch.tensor(one.ids)[:, None]).mean()))
    return found


def test_a_stage_starts_it_and_leaves_nothing_running(tmp_path: Path) -> None:
    write_groups(tmp_path / "queries", (Group(prompt=prompt) for prompt in PROMPTS), 4)
    rollout = RolloutConfig(
        sampling=SamplingConfig(samples=2, max_new_tokens=TOKENS, engine="server", server=SERVER)
    )
    workspace = Workspace(tmp_path / "work")
    metrics = sample_in_shards(MODEL, tmp_path / "queries", rollout, workspace, NullLog(), 0)
    print(f"{metrics['speed/tokens_per_second']:.0f} tokens/s, the start of the server included")
    groups = list(read_groups(workspace.output))
    assert [group.prompt for group in groups] == PROMPTS and metrics["responses"] == 8
    assert all(ids for group in groups for ids in group.extra["ids"])
