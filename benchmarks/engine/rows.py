"""The rows of the table: what is timed against what, and what the project promises of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.engine import peers
from benchmarks.engine.peers import Peer, Side

# Largest relative difference of a loss, log-probability or reward that is still the same work:
# bfloat16 has 8 bits of mantissa, and the sides add up in another order.
TOLERANCE = {"bf16": 3e-2, "fp32": 1e-3}
# A training has data for twelve blocks, and the first is not counted.
MOST_PAIRS = 11
# Draws differ, so only the mean length of the sampled responses is compared; greedy text in fp32.
DRAWN = 0.2
_SIDES = "benchmarks.engine.sides"
OURS, PADDED = f"{_SIDES}.own_training:policy", f"{_SIDES}.padded_path"


@dataclass(frozen=True)
class Row:
    """One comparison."""

    name: str
    """What `--rows` takes."""
    title: str
    """What is done, in words."""
    unit: str
    """What is counted per second."""
    ours: Side
    """Side A."""
    peer: Peer
    """Side B, in its best setting."""
    tolerance: float
    """Largest relative difference of what both sides report."""
    floor: float | None = None
    """Ratio that must be reached."""
    goal: float | None = None
    """Ratio that is aimed at."""
    memory_floor: float | None = None
    """Largest share of the peer's peak memory."""
    memory_goal: float | None = None
    """Share that is aimed at."""
    precision: str = "bf16"
    """Arithmetic of both sides."""
    real: bool = False
    """At real size: with the pretrained model."""
    most: int = MOST_PAIRS
    """Pairs of blocks after which it ends."""
    usual: bool = True
    """Whether it is in the table that nobody narrowed."""


def rows(*, quick: bool = False) -> list[Row]:
    """Return every row; `quick` ones work little, to see that everything runs."""
    return [
        *_trainings(quick),
        *_groupwise(quick),
        *_samplings(quick),
        _token_rewards(quick),
        *_passes(quick),
        *_ablations(quick),
    ]


def _trainings(quick: bool) -> Iterator[Row]:
    for precision in ("bf16", "fp32"):
        usual = precision == "bf16"
        suffix = "" if usual else "-fp32"
        plan = _plan(quick, batch=16, precision=precision, real=usual)
        shared: dict[str, Any] = {"precision": precision, "real": usual, "usual": usual}
        yield Row(
            f"dpo-k2{suffix}",
            "DPO on pairs, 16 a step, reference pass of one epoch included",
            "groups",
            Side("train_policy", OURS, {"method": "dpo", "size": 2} | plan),
            peers.trl_dpo(plan, quick=quick),
            TOLERANCE[precision],
            **(_promised(4.0, 6.0, 0.8, 0.5) if usual else {}),
            **shared,
        )
        yield Row(
            f"rm{suffix}",
            "reward model on pairs, 16 a step",
            "groups",
            Side("train_reward_model", f"{_SIDES}.own_training:reward", plan),
            peers.trl_reward(plan, quick=quick),
            TOLERANCE[precision],
            **(_promised(2.5, 4.0) if usual else {}),
            **shared,
        )


def _groupwise(quick: bool) -> Iterator[Row]:
    for size in (4, 8):
        real = size == 8
        plan = {"method": "rrhf", "size": size} | _plan(quick, batch=4, real=real)
        yield Row(
            f"k{size}",
            f"reward-weighted step (rrhf) on {size} responses, 4 groups a step",
            "groups",
            Side("train_policy", OURS, plan),
            peers.padded_groups(plan, quick=quick),
            TOLERANCE["bf16"],
            **(_promised(4.5, 7.0) if real else {}),
            real=real,
            usual=real,
        )


def _samplings(quick: bool) -> Iterator[Row]:
    def row(name: str, peer: Any, precision: str, **fields: Any) -> Row:
        work = {"precision": precision, "prompts": 8 if quick else 64, "samples": 4}
        return Row(
            f"sampling-{name}",
            f"{work['prompts']} prompts × 4 samples of at most 128 new tokens, {precision}",
            "tokens",
            Side("sample", f"{_SIDES}.sampling:ours", work),
            peer(work, quick=quick),
            DRAWN,
            precision=precision,
            **fields,
        )

    # A block takes one or two minutes.
    yield row("vllm", peers.vllm, "bf16", **_promised(1.1, 1.8), real=True, most=3)
    yield row("bf16", peers.generate, "bf16", **_promised(4.0, 6.0))
    yield row("fp32", peers.generate, "fp32", **_promised(5.0, 8.0), usual=False)


def _token_rewards(quick: bool) -> Row:
    plan, side = _plan(quick, batch=16), f"{_SIDES}.own_training:tqr"
    return Row(
        "ava-p",
        "AVA-p on pairs, 16 a step, against Bradley–Terry on the same pairs and backbone",
        "groups",
        Side("train_tqr by ava_p", side, {"objective": "ava_p"} | plan),
        Peer("train_tqr by bradley_terry", side, {"objective": "bradley_terry"} | plan),
        0.0,
        # It may take 1.5 times as long.
        floor=0.67,
    )


def _passes(quick: bool) -> Iterator[Row]:
    work = {"precision": "bf16", "groups": 16 if quick else 128}
    for name, title, ours, peer in (
        (
            "reference",
            "log-probabilities of pairs under the reference",
            "response_values",
            "padded, all logits, 16 pairs a batch",
        ),
        (
            "scoring",
            "rewards of 4 responses per prompt, tokenising included",
            "score_groups",
            "padded, 32 rows a batch",
        ),
    ):
        function = "score" if name == "scoring" else name
        yield Row(
            name,
            title,
            "groups",
            Side(ours, f"{_SIDES}.own_passes:{function}", work),
            Peer(peer, f"{PADDED}:{function}", work),
            TOLERANCE["bf16"],
        )


def _ablations(quick: bool) -> Iterator[Row]:
    plan = {"method": "dpo", "size": 2} | _plan(quick, batch=16)
    ours = Side("as it is", OURS, plan)
    for name, changed in (
        ("without kept memory", {"without": "kept_memory"}),
        ("with compile", {"options": {"compile": True}}),
        ("with gradient checkpointing", {"options": {"gradient_checkpointing": True}}),
        ("with 2,048 tokens a pass", {"options": {"micro_batch_tokens": 2048}}),
    ):
        yield Row(
            "own-" + name.split(" ", 1)[1].replace(" ", "-").replace(",", ""),
            f"our DPO step as it is, against itself {name}",
            "groups",
            ours,
            Peer(name, OURS, plan | changed),
            TOLERANCE["bf16"],
            usual=False,
        )


def grid(*, quick: bool = False) -> list[Row]:
    """Return rows in which one length or size grows, the others held."""
    step = f"{_SIDES}.shapes:step"
    axes: dict[str, list[dict[str, int]]] = {
        "prompt": [{"prompt": tokens} for tokens in (32, 128, 512, 1024)],
        "response": [{"response": tokens} for tokens in (16, 48, 128, 256)],
        "size": [{"size": size} for size in (2, 4, 8, 16)],
        "model": [
            {"hidden": hidden, "layers": layers}
            for hidden, layers in ((256, 4), (384, 6), (768, 8))
        ],
    }
    return [
        Row(
            f"grid-{axis}-{next(iter(shape.values()))}",
            "one step, " + ", ".join(f"{key} {value}" for key, value in shape.items()),
            "groups",
            Side("shared prompt", step, shape | {"layout": "shared", "precision": "bf16"}),
            Peer("padded", step, shape | {"layout": "padded", "precision": "bf16"}),
            TOLERANCE["bf16"],
        )
        for axis, shapes in axes.items()
        for shape in (shapes[:1] if quick else shapes)
    ]


def _promised(
    floor: float, goal: float, memory_floor: float | None = None, memory_goal: float | None = None
) -> dict[str, Any]:
    return {
        "floor": floor,
        "goal": goal,
        "memory_floor": memory_floor,
        "memory_goal": memory_goal,
    }


def _plan(
    quick: bool, *, batch: int, precision: str = "bf16", real: bool = False
) -> dict[str, Any]:
    """Return what `Training` takes: few steps where each is long."""
    size = {"batch": 4, "warm": 1, "block": 1} if quick else {"batch": batch}
    return {"precision": precision} | size | ({"warm": 1, "block": 1} if real else {})
