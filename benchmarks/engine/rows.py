"""The rows of the table: what is timed against what, and what the project promises of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

# Largest relative difference of a loss, log-probability or reward that is still the same work:
# bfloat16 has 8 bits of mantissa, and the sides add up in another order.
TOLERANCE = {"bf16": 3e-2, "fp32": 1e-3}
# A training has data for twelve blocks, and the first is not counted.
MOST_PAIRS = 11
# Draws differ, so only the mean length of the sampled responses is compared; greedy text in fp32.
DRAWN = 0.2
OURS, PADDED = "benchmarks.engine.own_training:policy", "benchmarks.engine.padded_path"


@dataclass(frozen=True)
class Side:
    """One way to do the work of a row."""

    name: str
    """As the table shows it."""
    function: str
    """Where it is: `module:function`."""
    options: dict[str, Any] = field(default_factory=dict)
    """Its keyword arguments."""


@dataclass(frozen=True)
class Row:
    """One comparison."""

    name: str
    """What `--row` takes."""
    title: str
    """What is done, in words."""
    unit: str
    """What is counted per second."""
    ours: Side
    """Side A."""
    peers: tuple[Side, ...]
    """Side B; of several variants the fastest counts."""
    tolerance: float
    """Largest relative difference of what both sides report."""
    floor: float | None = None
    """Ratio that must be reached."""
    goal: float | None = None
    """Ratio that is aimed at."""
    memory_floor: float | None = None
    """Largest share of the peer's peak memory."""
    precision: str = "bf16"
    """Arithmetic of both sides."""


def rows(*, quick: bool = False) -> list[Row]:
    """Return every row; `quick` ones work little, to see that everything runs."""
    return [
        *_trainings(quick),
        *_groupwise(quick),
        _token_rewards(quick),
        *_passes(quick),
        *_samplings(quick),
        *_ablations(quick),
    ]


def _trainings(quick: bool) -> Iterator[Row]:
    for precision in ("bf16", "fp32"):
        plan = _plan(quick, batch=16, precision=precision)
        floors = precision == "bf16"
        suffix = "" if floors else "-fp32"
        yield Row(
            f"dpo-k2{suffix}",
            "DPO on pairs, 16 a step, reference pass of one epoch included",
            "groups",
            Side("train_policy", OURS, {"method": "dpo", "size": 2} | plan),
            _both_ways("TRL DPOTrainer", "benchmarks.engine.trl_trainers:dpo", plan),
            TOLERANCE[precision],
            floor=6.0 if floors else None,
            goal=9.0 if floors else None,
            memory_floor=0.65 if floors else None,
            precision=precision,
        )
        yield Row(
            f"rm{suffix}",
            "reward model on pairs, 16 a step",
            "groups",
            Side("train_reward_model", "benchmarks.engine.own_training:reward", plan),
            _both_ways("TRL RewardTrainer", "benchmarks.engine.trl_trainers:reward", plan),
            TOLERANCE[precision],
            floor=3.5 if floors else None,
            goal=5.0 if floors else None,
            precision=precision,
        )


def _groupwise(quick: bool) -> Iterator[Row]:
    for size, floor, goal in ((4, None, None), (8, 4.5, 7.0)):
        plan = {"method": "rrhf", "size": size} | _plan(quick, batch=4)
        yield Row(
            f"k{size}",
            f"reward-weighted step (rrhf) on {size} responses, 4 groups a step",
            "groups",
            Side("train_policy", OURS, plan),
            (Side("padded row per response, all logits", f"{PADDED}:train", plan),),
            TOLERANCE["bf16"],
            floor,
            goal,
        )


def _token_rewards(quick: bool) -> Row:
    plan, side = _plan(quick, batch=16), "benchmarks.engine.own_training:tqr"
    return Row(
        "ava-p",
        "AVA-p on pairs, 16 a step, against Bradley–Terry on the same pairs and backbone",
        "groups",
        Side("train_tqr by ava_p", side, {"objective": "ava_p"} | plan),
        (Side("train_tqr by bradley_terry", side, {"objective": "bradley_terry"} | plan),),
        0.0,
        # It may take 1.5 times as long.
        floor=0.67,
    )


def _passes(quick: bool) -> Iterator[Row]:
    work = {"precision": "bf16", "groups": 16 if quick else 128}
    yield Row(
        "reference",
        "log-probabilities of pairs under the reference",
        "groups",
        Side("response_values", "benchmarks.engine.own_passes:reference", work),
        (Side("padded, all logits, 16 pairs a batch", f"{PADDED}:reference", work),),
        TOLERANCE["bf16"],
    )
    yield Row(
        "scoring",
        "rewards of 4 responses per prompt, tokenising included",
        "groups",
        Side("score_groups", "benchmarks.engine.own_passes:score", work),
        (Side("padded, 32 rows a batch", f"{PADDED}:score", work),),
        TOLERANCE["bf16"],
    )


def _samplings(quick: bool) -> Iterator[Row]:
    for precision, floor, goal in (("bf16", 4.0, 6.0), ("fp32", 5.0, 8.0)):
        work = {"precision": precision, "prompts": 8 if quick else 64, "samples": 4}
        generate = "benchmarks.engine.sampling_sides:generate"
        peers = tuple(
            Side(f"generate, {batch} prompts a batch", generate, work | {"batch": batch})
            for batch in ((8,) if quick else (16, 64))
        )
        yield Row(
            f"sampling-{precision}",
            f"{work['prompts']} prompts × 4 samples of at most 128 new tokens, {precision}",
            "tokens",
            Side("sample", "benchmarks.engine.sampling_sides:ours", work),
            peers,
            DRAWN,
            floor,
            goal,
            precision=precision,
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
            (Side(name, OURS, plan | changed),),
            TOLERANCE["bf16"],
        )


def grid(*, quick: bool = False) -> list[Row]:
    """Return rows in which one length or size grows, the others held."""
    step = "benchmarks.engine.shapes:step"
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
            (Side("padded", step, shape | {"layout": "padded", "precision": "bf16"}),),
            TOLERANCE["bf16"],
        )
        for axis, shapes in axes.items()
        for shape in (shapes[:1] if quick else shapes)
    ]


def _plan(quick: bool, *, batch: int, precision: str = "bf16") -> dict[str, Any]:
    size = {"batch": 4, "warm": 1, "block": 1} if quick else {"batch": batch}
    return {"precision": precision} | size


def _both_ways(name: str, function: str, plan: dict[str, Any]) -> tuple[Side, ...]:
    return tuple(
        Side(
            f"{name}, gradient checkpointing {'on' if checkpointing else 'off'}",
            function,
            plan | {"checkpointing": checkpointing},
        )
        for checkpointing in (False, True)
    )
