"""Where every response can be listed, a real model trained by our engine nears the exact optimum.

A response is one token, cut off by the limit, so that there are as many as the vocabulary has
entries. The optimum is pi_ref exp(r / beta) with beta = beta_pi beta_r, normalised.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tasks.data.files import write_groups
from tasks.data.groups import Group, Message
from tasks.models.policy import load_policy
from tasks.models.tokens.encoding import encode_prompt, vocabulary_of
from tasks.models.tokens.tokenizer import load_tokenizer
from tasks.objectives.exo import optimal_logps
from tasks.training.config import PolicyConfig, TrainingConfig
from tests.tasks.training.small_updates import update

PROMPT = (Message("user", "tea or cake?"),)
K, GROUPS, TEMPERATURE = 64, 96, 0.8
TRAINING = TrainingConfig(
    learning_rate=2e-2,
    batch_size=16,
    num_train_epochs=20,
    lr_scheduler="cosine",
    save_every=1000,
    precision="fp32",
)


@torch.no_grad()
def token_logps(model: Path) -> Tensor:
    """Log-probabilities of every first token behind the prompt, tempered. Shape (V,)."""
    ids, _ = encode_prompt(load_tokenizer(model), "plain", PROMPT, 40)
    logits = load_policy(model, dtype="float32")(torch.tensor([ids])).logits[0, -1]
    return (logits.double() / TEMPERATURE).log_softmax(-1)


def write_samples(model: Path, folder: Path, rewards: Tensor) -> None:
    """Groups of K tokens drawn from the model, with their rewards, as the sampler writes them."""
    generator = torch.Generator().manual_seed(0)
    share = token_logps(model).exp().expand(GROUPS, -1)
    vocabulary = vocabulary_of(load_tokenizer(model), "plain")
    drawn = torch.multinomial(share, K, replacement=True, generator=generator)
    write_groups(
        folder,
        [
            Group(
                PROMPT,
                responses=tuple(f"token {token}" for token in tokens),
                scores=tuple(rewards[tokens].tolist()),
                id=f"group-{index}",
                extra={
                    "ids": [[token] for token in tokens],
                    "ended": [False] * K,
                    "vocabulary": vocabulary,
                },
            )
            for index, tokens in enumerate(drawn.tolist())
        ],
    )


def distance(one: Tensor, other: Tensor) -> float:
    """Total variation between two distributions given by their logarithms."""
    return float((one.exp() - other.exp()).abs().sum() / 2)


@pytest.mark.parametrize("method", ["exo_rw", "dpo_rw"])
def test_the_engine_nears_the_exact_optimum(method, tiny_policy, tmp_path, recording_log):
    """Total variation from the optimum: 0.40 at the start, 0.0004 at the end (seen)."""
    start = token_logps(tiny_policy)
    rewards = torch.randn(len(start), generator=torch.Generator().manual_seed(1)).double()
    write_samples(tiny_policy, tmp_path / "samples", rewards)
    coefficients = {"beta_pi": 0.5, "beta_r": 2.0}
    config = PolicyConfig(
        method=method,
        coefficients={method: coefficients},
        training=TRAINING,
        limits={"max_prompt_tokens": 40, "max_response_tokens": 1},
        template="plain",
        temperature=TEMPERATURE,
    )
    path = tmp_path / method
    update(path, tiny_policy, tmp_path / "samples", config, recording_log)
    optimum = optimal_logps(start[None], rewards[None], beta=0.5 * 2.0)[0]
    ended = token_logps(path / "output")
    assert distance(start, optimum) > 0.3
    assert distance(ended, optimum) < 0.002
