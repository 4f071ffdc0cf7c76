"""What a run's models do in plain transformers, from their folders alone, beside our own engine.

    python benchmarks/saved_template.py --home .sparring --world data/playground/world.json \
        [--policies DPO-v1 …] [--rewards RM_Base …] [--samples 4] [--prompts 300]

The policy is asked twice: by our sampler, and by `apply_chat_template` and `generate` with what its
`generation_config.json` says. The oracle scores both. The reward model judges the test pairs twice:
by our scorer, and from text that TRL writes with the saved template. Both differences should be 0:
the first within its error, as the draws differ, the second exactly.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tasks.data.files import read_groups
from tasks.data.groups import Group
from tasks.evaluation.metrics.estimates import mean_estimate
from tasks.models.policy import load_policy
from tasks.models.reward_model import load_reward_model
from tasks.models.sampling.config import SamplingConfig
from tasks.models.sampling.generation import sample
from tasks.models.scoring.group_scores import score_groups
from tasks.models.scoring.scorers import WorldScorer
from tasks.models.tokens.encoding import Limits
from tasks.models.tokens.tokenizer import load_tokenizer
from tasks.stages.manifest import list_manifests
from tasks.storage.home import Home

TEMPLATE = "plain"
LIMITS = Limits(max_prompt_tokens=96, max_response_tokens=64)
BATCH = 50


def main() -> None:
    """Print both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--home", type=Path, required=True, help="state folder of a finished run")
    parser.add_argument("--world", type=Path, required=True, help="the playground's world.json")
    parser.add_argument("--policies", nargs="+", default=["DPO-v1"], help="labels")
    parser.add_argument("--rewards", nargs="+", default=["RM_Base"], help="labels")
    parser.add_argument("--samples", type=int, default=4, help="responses per prompt")
    parser.add_argument("--prompts", type=int, default=300, help="test prompts at most")
    given = parser.parse_args()
    home = Home(given.home.resolve())
    groups = list(read_groups(_folder(home, "prepare_data", None) / "test"))[: given.prompts]
    print(f"oracle reward, {len(groups)} prompts × {given.samples} responses, ± 1.96 SE")
    for label in given.policies:
        folder = _folder(home, "update_policy", label)
        drawn = [draw(folder, groups, given.samples) for draw in (draw_ours, draw_plainly)]
        ours, theirs = (_rewards(given.world, groups, texts) for texts in drawn)
        gaps = [right - left for left, right in zip(ours, theirs, strict=True)]
        _show(label, {"ours": ours, "plain transformers": theirs, "difference": gaps})
    print(f"pairwise accuracy, {len(groups)} pairs, ± 1.96 SE")
    for label in given.rewards:
        folder = _folder(home, "update_reward_model", label)
        scores = [judge_ours(folder, groups), judge_plainly(folder, groups)]
        ours, theirs = ([float(a > b) for a, b in rows] for rows in scores)
        _show(label, {"ours": ours, "TRL's text": theirs})
        apart = [
            abs(a - b) for pair in zip(*scores, strict=True) for a, b in zip(*pair, strict=True)
        ]
        print(f"    largest difference of a reward: {max(apart):.2g}")


def draw_ours(folder: Path, groups: list[Group], samples: int) -> list[list[str]]:
    """Sample by our engine, at temperature 1."""
    config = SamplingConfig(samples=samples, max_new_tokens=LIMITS.max_response_tokens)
    prompts = [group.prompt for group in groups]
    drawn = sample(
        load_policy(folder, dtype="float32"), load_tokenizer(folder), TEMPLATE, prompts, config, 0
    )
    return [[completion.text for completion in row] for row in drawn]


def draw_plainly(folder: Path, groups: list[Group], samples: int) -> list[list[str]]:
    """Sample as a user of the folder would, who knows nothing of this project."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    # Folders of before this was measured say nothing: they are given the same settings.
    said = model.generation_config
    wanted = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
    wanted["max_new_tokens"] = LIMITS.max_response_tokens
    missing = {name: value for name, value in wanted.items() if getattr(said, name) is None}
    torch.manual_seed(0)
    found: list[list[str]] = []
    for start in range(0, len(groups), BATCH):
        turns = [_messages(group) for group in groups[start : start + BATCH]]
        rows = tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, padding=True, return_tensors="pt"
        )
        with torch.inference_mode():
            out = model.generate(**rows, num_return_sequences=samples, **missing)
        new = out[:, rows["input_ids"].shape[1] :]
        texts = tokenizer.batch_decode(new, skip_special_tokens=True)
        found += [texts[place : place + samples] for place in range(0, len(texts), samples)]
    return found


def judge_ours(folder: Path, groups: list[Group]) -> list[list[float]]:
    """Score the pairs by our engine."""
    model = load_reward_model(folder, dtype="float32")
    return score_groups(model, load_tokenizer(folder), TEMPLATE, groups, LIMITS)


def judge_plainly(folder: Path, groups: list[Group]) -> list[list[float]]:
    """Score the pairs from the text that TRL writes with the saved template."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from trl.data_utils import apply_chat_template

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    scores: list[list[float]] = []
    for group in groups:
        texts = [
            apply_chat_template({"messages": [*_messages(group), _answer(text)]}, tokenizer)["text"]
            for text in group.responses
        ]
        # As GRPOTrainer reads them.
        rows = tokenizer(
            text=texts,
            return_tensors="pt",
            padding=True,
            padding_side="right",
            add_special_tokens=False,
        )
        with torch.inference_mode():
            scores.append(model(**rows).logits[:, 0].tolist())
    return scores


def _folder(home: Home, stage: str, label: str | None) -> Path:
    found = [one for one in list_manifests(home, stage) if label in (None, one.label)]
    if len(found) != 1:
        raise SystemExit(f"{home.root} holds {len(found)} artifacts of {stage} {label or ''}")
    return found[0].folder(home)


def _messages(group: Group) -> list[dict[str, Any]]:
    return [turn._asdict() for turn in group.prompt]


def _answer(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def _rewards(world: Path, groups: list[Group], texts: list[list[str]]) -> list[float]:
    """Mean reward of each prompt's responses."""
    answered = [
        Group(group.prompt, tuple(drawn)) for group, drawn in zip(groups, texts, strict=True)
    ]
    return [sum(row) / len(row) for row in WorldScorer(world).score(answered)]


def _show(label: str, columns: dict[str, list[float]]) -> None:
    print(f"  {label}")
    for name, values in columns.items():
        found = mean_estimate(values)
        print(f"    {name}: {found.value:.4f} ± {1.96 * found.standard_error:.4f}", flush=True)


if __name__ == "__main__":
    main()
