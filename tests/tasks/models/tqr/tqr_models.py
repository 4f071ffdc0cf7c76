"""Tiny TQRs whose heads tell states apart, and their terms computed the slow way."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tasks.models.policy import load_policy
from tasks.models.tokens.encoding import EncodedGroup
from tasks.models.tqr.config import TqrConfig
from tasks.models.tqr.group_tqr import GroupTqr, output_shape
from tasks.models.tqr.heads import TqrHeads
from tasks.models.tqr.model_files import start_heads
from tasks.objectives.ava import AvaTerms, q_values, reward_weights
from tests.tasks.models import families

ALL = ("gpt2", "llama", "llama-tied", "qwen2", "bart", "t5")


def random_heads(config: TqrConfig, model: Any, seed: int = 1) -> TqrHeads:
    """Heads whose rewards, spreads and weights differ from token to token."""
    heads = TqrHeads(config, *output_shape(model)).to(model.dtype)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in heads.parameters():
            part.copy_(torch.randn(part.shape, generator=generator) * 0.4)
    return heads


def build(family: str, *, float64: bool = False, seed: int = 0, **config: Any) -> GroupTqr:
    """Build a TQR of a family with random weights everywhere."""
    model = families.build(family, seed=seed)
    model = families.exact(model) if float64 else model
    return GroupTqr(model, random_heads(TqrConfig(**config), model)).eval()


def on_folder(path: Path, **config: Any) -> GroupTqr:
    """Put fresh heads on the policy in a folder, as a training does."""
    model = load_policy(path)
    return GroupTqr(model, start_heads(path, model, TqrConfig(**config), seed=0)).eval()


def by_hand(tqr: GroupTqr, group: EncodedGroup, k: int) -> AvaTerms:
    """The terms of one response alone, in one row without a pad, from whole tables of logits."""
    config, model, heads = tqr.heads.config, tqr.model, tqr.heads
    response = group.responses_ids[k]
    if model.config.is_encoder_decoder:
        start = [model.config.decoder_start_token_id]
        start += [1] if model.config.model_type == "bart" else []
        prompt = group.prompt_ids if group.prompt_ids[-1] == 2 else [*group.prompt_ids, 2]
        given = {
            "input_ids": torch.tensor([prompt]),
            "decoder_input_ids": torch.tensor([start + response]),
        }
        states_of, first = "decoder_hidden_states", len(start) - 1
    else:
        given = {"input_ids": torch.tensor([[*group.prompt_ids, *response]])}
        states_of, first = "hidden_states", len(group.prompt_ids) - 1
    output = model(**given, output_hidden_states=True)
    states = output[states_of][-1][:, first:]
    logits = output.logits[:, first:]
    size = len(response)
    alpha, q_map = (config.alpha, config.q_map) if config.ptq else (1.0, "raw")
    weights = torch.ones(1, size, dtype=states.dtype)
    if config.rwt:
        weights = reward_weights(
            heads.queries(states[:, :size]),
            heads.keys(states[:, :size]),
            torch.ones(1, size, dtype=torch.bool),
            scale=config.rwt_scale,
        )
    if not config.ptq:
        logits = heads.q_head(states)
    own = torch.tensor(response)[None, :, None]
    q = q_values(logits[:, :size], alpha=alpha, q_map=q_map).gather(-1, own)[..., 0]
    log_lik = q
    if not config.ptq:
        table = (config.beta * logits[:, :size]).log_softmax(-1)
        log_lik = table.gather(-1, own)[..., 0]
    mean, log_std = heads.reward(states[:, :size]).unbind(-1)
    floor = -3 - (math.log(size) if config.rwt_scale == "sum1" else 0)
    q, mean = q * weights, mean * weights
    log_std = (log_std + weights.log()).clamp(min=floor, max=3)
    true = torch.ones(1, size, dtype=torch.bool)
    return AvaTerms(q, ahead(q), log_lik, mean, log_std, true, ahead(true))


def ahead(values: Tensor) -> Tensor:
    """Each row one place further on, its end filled with 0 or False."""
    return torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
