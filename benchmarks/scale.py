"""A 7B policy on 8 and 64 GPUs on paper: operations, bytes, hours and dollars (docs/scale.md).

    python benchmarks/scale.py [--prompts 1000000] [--responses 8] [--prompt-tokens 256]
                               [--response-tokens 256] [--share 0.45] [--dollars 3.0]

Counted: operations, by the same function that our trainings report their share of the matmul rate
with, on the 7B shape; bytes of weights, gradients and optimiser, from the formats our engine keeps.
Measured here: what a token leaves behind for the backward pass, on a small model of the same
proportions; how fast a checkpoint is written and digested. Assumed, and said so in the tables: the
GPU, its links, the disk, the price, the share of the peak rate.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import typer
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.unit_costs import group, saved_bytes, written_per_second
from tasks.models.groups.flops import multiply_adds
from tasks.models.groups.packing import pack

# fp32 weights, gradients and two moments of AdamW: what our engine keeps in every mode.
WEIGHTS, GRADIENTS, MOMENTS = 4, 4, 8


class Work(NamedTuple):
    """What is trained on."""

    prompts: int
    responses: int
    prompt_tokens: int
    response_tokens: int
    batch: int = 512
    """Groups per optimiser step."""


class Machine(NamedTuple):
    """What is assumed of a GPU and what surrounds it."""

    gpus: int
    share: float
    """Part of the peak rate that training reaches."""
    dollars: float
    """Per GPU and hour."""
    peak: float = 989e12
    """Dense bf16 operations per second."""
    memory: float = 80e9
    bandwidth: float = 3.35e12
    """Bytes per second between the GPU and its memory."""
    link: float = 0.0
    """Bytes per second that a GPU exchanges with the others in a collective."""
    disk: float = 2e9
    """Bytes per second of the shared disk, all machines together."""


def main(
    prompts: int = 1_000_000,
    responses: int = 8,
    prompt_tokens: int = 256,
    response_tokens: int = 256,
    share: float = 0.45,
    dollars: float = 3.0,
) -> None:
    """Print the tables; assumed are the share of a GPU's peak and its dollars per hour."""
    work = Work(prompts, responses, prompt_tokens, response_tokens)
    machines = [Machine(gpus, share, dollars, link=link) for gpus, link in ((8, 400e9), (64, 50e9))]
    model = big_model()
    kept = saved_bytes(checkpointing=False), saved_bytes(checkpointing=True)
    print(operations_table(model, work), end="\n\n")
    print(time_table(model, work, machines), end="\n\n")
    print(memory_table(model, machines, kept), end="\n\n")
    print(checkpoint_table(model, machines, written_per_second()))


def big_model() -> Any:
    """Return the 7B shape (that of Llama 2 7B), without its numbers."""
    with torch.device("meta"):
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=32_000,
                hidden_size=4096,
                num_hidden_layers=32,
                num_attention_heads=32,
                intermediate_size=11_008,
                max_position_embeddings=4096,
                tie_word_embeddings=False,
            )
        )


def forward_operations(model: Any, work: Work) -> tuple[float, float]:
    """Return the operations of one forward pass over a group: shared, and per response padded-free.

    The second computes the prompt with each response and the logits of every token.
    """
    prompt = [1] * work.prompt_tokens
    response = [1] * work.response_tokens
    shared = group(prompt, [response] * work.responses)
    alone = group(prompt, [response])
    vocabulary = model.get_output_embeddings().weight.numel()
    plain = multiply_adds(model, pack([alone])) + vocabulary * work.prompt_tokens
    return 2.0 * multiply_adds(model, pack([shared])), 2.0 * work.responses * plain


def operations_table(model: Any, work: Work) -> str:
    """Return operations per group, step and epoch, with and without sharing."""
    shared, plain = forward_operations(model, work)
    lines = [
        f"{work.prompts:,} prompts of {work.prompt_tokens} tokens × {work.responses} responses of "
        f"{work.response_tokens}; {parameters(model) / 1e9:.2f}B parameters; "
        f"{work.batch} groups a step, {-(-work.prompts // work.batch):,} steps",
        "",
        "| operations | shared prompts, scored logits | a row per response, all logits | less |",
        "|---|---|---|---|",
    ]
    passes = {
        "forward, per group": 1,
        "training, per step": 3 * work.batch,
        "reference pass, per epoch": work.prompts,
        "scoring by a 7B reward model, per epoch": work.prompts,
        "training, per epoch": 3 * work.prompts,
    }
    for name, times in passes.items():
        lines.append(
            f"| {name} | {shared * times:.3g} | {plain * times:.3g} | {plain / shared:.2f}× |"
        )
    return "\n".join(lines)


def time_table(model: Any, work: Work, machines: list[Machine]) -> str:
    """Return hours and dollars of an epoch's stages, shared against plain."""
    shared, plain = forward_operations(model, work)
    head = " | ".join(f"{machine.gpus} GPUs: hours, dollars" for machine in machines)
    lines = [f"| an epoch | {head} |", "|---" * (len(machines) + 1) + "|"]
    stages = {
        "sampling": None,
        "scoring": shared,
        "reference pass": shared,
        "training": 3 * shared,
        "the last three, a row per response": 5 * plain,
    }
    for name, operations in stages.items():
        cells = []
        for machine in machines:
            rate = machine.gpus * machine.peak * machine.share
            seconds = (
                sampling_seconds(model, work, machine)
                if operations is None
                else work.prompts * operations / rate
            )
            dollars = seconds / 3600 * machine.gpus * machine.dollars
            cells.append(f"{seconds / 3600:,.1f} h, ${dollars:,.0f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for stage, copies in (("1 or 2", 2), ("3", 3)):
        cells = []
        for machine in machines:
            wire = copies * WEIGHTS * parameters(model) / machine.link
            step = 3 * work.batch * shared / (machine.gpus * machine.peak * machine.share)
            cells.append(f"{wire:.2f} s beside {step:.1f} s of arithmetic")
        lines.append(f"| exchange per step, ZeRO-{stage} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def sampling_seconds(model: Any, work: Work, machine: Machine) -> float:
    """Return the seconds to draw all responses, each GPU for itself with bf16 weights.

    Prompts are computed once. Every step of a batch reads the weights once and the keys and values
    of its rows once; the batch is as large as the memory beside the weights holds.
    """
    config = model.config
    weights = 2.0 * parameters(model)
    entry = 2 * 2 * config.num_hidden_layers * config.hidden_size
    cached = entry * (work.prompt_tokens / work.responses + work.response_tokens)
    rows = (0.9 * machine.memory - weights) / cached
    # On average half of a response's keys and values are there already.
    read = weights + rows * entry * (work.prompt_tokens + work.response_tokens / 2)
    steps = work.prompts * work.responses / rows * work.response_tokens / machine.gpus
    prefill = weights * work.prompts * work.prompt_tokens
    rate = machine.gpus * machine.peak * machine.share
    return steps * read / machine.bandwidth + prefill / rate


def memory_table(model: Any, machines: list[Machine], kept: tuple[float, float]) -> str:
    """Return bytes per GPU under each stage of ZeRO, and the tokens the rest has room for."""
    count, config = parameters(model), model.config
    lines = [
        f"a token leaves {kept[0]:.0f} bytes per layer and unit of width behind, {kept[1]:.1f} "
        "with gradient checkpointing (measured)",
        "",
        "| per GPU | weights | gradients | moments | left of 80 GB | tokens a pass | "
        "with checkpointing |",
        "|---|---|---|---|---|---|---|",
    ]
    for machine in machines:
        n = machine.gpus
        for stage in (1, 2, 3):
            parts = [
                WEIGHTS * count / (n if stage == 3 else 1),
                GRADIENTS * count / (n if stage >= 2 else 1),
                MOMENTS * count / n,
            ]
            # Two layers' weights are gathered while one computes; bf16 copies of one as well.
            layer = count / config.num_hidden_layers
            working = 3 * WEIGHTS * layer if stage == 3 else WEIGHTS * layer
            left = 0.95 * machine.memory - sum(parts) - working
            width = config.num_hidden_layers * config.hidden_size
            # A layer that is computed again leaves everything behind for a while.
            again = kept[1] * width + kept[0] * config.hidden_size
            room = [max(0.0, left) / each for each in (kept[0] * width, again)]
            cells = " | ".join(f"{part / 1e9:.1f} GB" for part in parts)
            fits = " | ".join(f"{tokens:,.0f}" for tokens in room)
            lines.append(f"| {n} GPUs, ZeRO-{stage} | {cells} | {left / 1e9:.1f} GB | {fits} |")
    return "\n".join(lines)


def checkpoint_table(model: Any, machines: list[Machine], rate: float) -> str:
    """Return sizes and times of a checkpoint and of the saved model."""
    count = parameters(model)
    whole = (WEIGHTS + MOMENTS) * count
    lines = [
        f"one process writes, syncs and digests {rate / 1e6:,.0f} MB/s here (measured); the shared "
        f"disk takes {machines[0].disk / 1e9:.0f} GB/s (assumed)",
        "",
        "| | bytes | one process | " + " | ".join(f"{m.gpus} processes" for m in machines) + " |",
        "|---|---|---|" + "---|" * len(machines),
    ]
    for name, size in (("checkpoint", whole), ("trained model, fp32", WEIGHTS * count)):
        alone = size / min(rate, machines[0].disk)
        together = [size / min(rate * m.gpus, m.disk) for m in machines]
        cells = " | ".join(f"{seconds:,.0f} s" for seconds in (alone, *together))
        lines.append(f"| {name} | {size / 1e9:.1f} GB | {cells} |")
    return "\n".join(lines)


def parameters(model: Any) -> int:
    """Return how many numbers a model has."""
    return sum(parameter.numel() for parameter in model.parameters())


if __name__ == "__main__":
    typer.run(main)
