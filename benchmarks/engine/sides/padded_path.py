"""The straightforward path as sides: a padded row per response, logits of every token."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from benchmarks.engine.setting import Setting, encoded, rectangle, texts
from benchmarks.engine.sides.training_plan import Training, micro_batches, ordered
from benchmarks.engine.worker import Block, Turns
from tasks.models.groups.packing import group_tokens
from tasks.models.policy import load_policy
from tasks.models.precision import arithmetic_of, compute_device
from tasks.models.tokens.encoding import EncodedGroup, encode_group
from tasks.training.config import TrainingConfig
from tasks.training.methods.registry import get_group_method
from tasks.training.optimiser import build_optimiser
from tasks.training.updates.reference_logps import SET


def train(
    turns: Turns,
    setting: Setting,
    folder: Path,
    *,
    method: str,
    size: int,
    micro_batch: int,
    by_length: bool,
    checkpointing: bool,
    **plan: Any,
) -> None:
    """Update the policy by a method's own loss, all responses of `micro_batch` groups together."""
    training, rule = Training(**plan), get_group_method(method)
    found = encoded(folder, setting, size, training.groups)
    order = ordered(found, training, SET, by_length=by_length)
    scored = texts(folder, size, training.groups)
    groups, scores = [found[row] for row in order], [scored[row].scores for row in order]
    device = compute_device()
    model = load_policy(folder / "policy", dtype="float32").to(device).train()
    if checkpointing:
        model.gradient_checkpointing_enable()
    optimiser = build_optimiser(model, TrainingConfig(learning_rate=training.learning_rate))
    block = Block()
    for step in range(training.steps):
        if step >= training.warm and (step - training.warm) % training.block == 0:
            turns.next(block if step > training.warm else Block(losses=block.losses))
            block = Block()
        block.losses[step + 1] = 0.0
        for rows in micro_batches(training, step, micro_batch):
            part = groups[rows]
            wanted = torch.tensor(scores[rows], device=device)
            logps, lengths = padded_logps(model, part, training.precision, device)
            losses, _ = rule.loss(logps, None, wanted, lengths, lengths > 0, rule.coefficients())
            loss = losses.sum() / training.batch
            loss.backward()
            block.losses[step + 1] += loss.item()
            count_padded(block, part)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
    turns.next(block)


def reference(
    turns: Turns, setting: Setting, folder: Path, *, precision: str, groups: int, batch: int = 16
) -> None:
    """Compute the log-probabilities of pairs under the reference, in the order they come."""
    device = compute_device()
    found = encoded(folder, setting, 2, groups)
    model = load_policy(folder / "reference", dtype="float32").to(device)
    done = None
    while True:
        turns.next(done)
        done = Block()
        for start in range(0, len(found), batch):
            rows = found[start : start + batch]
            with torch.inference_mode():
                values, _ = padded_logps(model, rows, precision, device)
            count_padded(done, rows)
            for row, pair in enumerate(values.tolist(), start):
                done.losses |= {2 * row + place: value for place, value in enumerate(pair)}


def score(
    turns: Turns, setting: Setting, folder: Path, *, precision: str, groups: int, batch: int = 32
) -> None:
    """Score four responses to each prompt, tokenised and padded as rows of their own."""
    device = compute_device()
    found = texts(folder, 4, groups)
    tokenizer = AutoTokenizer.from_pretrained(folder / "reward")
    model = AutoModelForSequenceClassification.from_pretrained(folder / "reward").to(device).eval()
    done = None
    while True:
        turns.next(done)
        done = Block()
        ids = [encode_group(tokenizer, setting.template, group, setting.limits) for group in found]
        rows = [group.prompt_ids + response for group in ids for response in group.responses_ids]
        values: list[float] = []
        for start in range(0, len(rows), batch):
            tokens, mask = rectangle(rows[start : start + batch], device)
            with torch.inference_mode(), arithmetic_of(precision):
                logits = model(input_ids=tokens, attention_mask=mask, use_cache=False).logits
            values += logits[:, 0].float().tolist()
            done.computed += tokens.numel()
        done.units += len(found)
        done.needed += sum(map(group_tokens, ids))
        done.losses = dict(enumerate(values))


def padded_logps(
    model: Any, groups: Sequence[EncodedGroup], precision: str, device: str
) -> tuple[Tensor, Tensor]:
    """Return log-probabilities and lengths of equally many responses per group, (B, K) both."""
    pairs = [(group.prompt_ids, ids) for group in groups for ids in group.responses_ids]
    ids, mask = rectangle([prompt + response for prompt, response in pairs], device)
    with arithmetic_of(precision):
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    logps = torch.log_softmax(logits[:, :-1].float(), dim=-1)
    tokens = logps.gather(-1, ids[:, 1:, None])[..., 0]
    places = torch.arange(1, ids.shape[1], device=device)
    first = torch.tensor([[len(prompt)] for prompt, _ in pairs], device=device)
    last = first + torch.tensor([[len(response)] for _, response in pairs], device=device)
    of_response = (places >= first) & (places < last)
    shape = (len(groups), -1)
    return (tokens * of_response).sum(-1).view(shape), (last - first).view(shape)


def count_padded(block: Block, groups: Sequence[EncodedGroup]) -> None:
    """Add groups that were computed as one padded rectangle."""
    rows = [len(g.prompt_ids) + len(ids) for g in groups for ids in g.responses_ids]
    block.units += len(groups)
    block.computed += len(rows) * max(rows)
    block.needed += sum(map(group_tokens, groups))
