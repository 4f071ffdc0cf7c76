"""A policy's figures, worked out by hand on three prompts."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.data.files import read_groups, write_groups
from tasks.data.groups import Group, Message
from tasks.data.playground import world as playground
from tasks.evaluation.config import PolicyEvaluation
from tasks.evaluation.policy import PolicyUnderTest, collect_answers, measure_policy
from tasks.models.tokens.encoding import Limits
from tasks.settings.log import NullLog
from tasks.storage.digests import sha256_json
from tasks.storage.files import read_json, write_json

CONFIG = PolicyEvaluation(limits=Limits(), template="plain", bootstrap_samples=50, examples=2)
SCORES = {"p": (3.0, 3.0), "q": (2.0, 1.0), "r": (0.0, 3.0)}
NOTES = {
    "p": {"tokens": [2, 4], "ended": [True, True]},
    "q": {"tokens": [6, 6], "ended": [True, False]},
    "r": {"tokens": [6, 6], "ended": [True, True]},
}


def group(name: str, texts: tuple[str, ...], scores: tuple[float, ...], **more: Any) -> Group:
    prompt = (Message("system", "be kind"), Message("user", f"ask {name}"))
    return Group(prompt, texts, scores, id=name, **more)


def sampled(name: str, scores: tuple[float, ...]) -> Group:
    return group(name, (f"{name} one", f"{name} two"), scores, extra=NOTES[name])


def contender(folder: Path, **more: Any) -> PolicyUnderTest:
    """RM_A scores as `SCORES`, RM_B a hundred more."""
    for judge, bonus in (("RM_B", 100.0), ("RM_A", 0.0)):
        rows = ((name, tuple(score + bonus for score in row)) for name, row in SCORES.items())
        write_groups(folder / judge, [sampled(name, row) for name, row in rows])
    nothing = dict.fromkeys(("policy", "reference", "kl_samples", "world"))
    paths = {judge: folder / judge for judge in ("RM_A", "RM_B")}
    return PolicyUnderTest(scores=paths, **(nothing | more))


def opponent(folder: Path, scores: dict[str, dict[str, list[float]]]) -> Path:
    """What an earlier evaluation left: per prompt the scores by judge."""
    folder.mkdir()
    per_prompt = {name: {"scores": found, "best": None} for name, found in scores.items()}
    write_json(folder / "evaluation.json", {"per_prompt": per_prompt})
    return folder


def measure(
    folder: Path, tested: PolicyUnderTest, config: PolicyEvaluation = CONFIG, **opponents: Path
) -> tuple[dict[str, float], dict[str, Any]]:
    output = folder / "output"
    output.mkdir()
    flat = measure_policy(tested, opponents, config, 0, output, NullLog())
    return flat, read_json(output / "evaluation.json")


def test_scores_and_habits_by_hand(tmp_path: Path) -> None:
    flat, kept = measure(tmp_path, contender(tmp_path))
    assert kept["queries"] == 3
    # Sums of the deviations from 2 by prompt: 2, -1, -1.
    assert kept["scores"]["RM_A"] == {"value": 2.0, "standard_error": 0.5, "count": 3}
    assert kept["scores"]["RM_B"]["value"] == 102.0
    assert (flat["score/RM_A"], flat["score/RM_B"]) == (2.0, 102.0)
    # σ of 3, 3, 2, 1, 0, 3; deviations 0, 1/√2 and 3/√2 of the three prompts.
    odds = [1 / (1 + math.exp(-score)) for row in SCORES.values() for score in row]
    assert flat["accuracy/RM_A"] == pytest.approx(sum(odds) / 6)
    assert flat["spread/RM_A"] == pytest.approx((0 + 1 + 3) / 2**0.5 / 3)
    assert kept["accuracies"]["RM_B"]["value"] == pytest.approx(1)
    assert kept["spreads"]["RM_A"]["count"] == 3
    assert flat["habits/length"] == 5.0
    assert flat["habits/ended"] == pytest.approx(5 / 6)
    # Tokens 2 4 6 6 6 6 about 5, scores 3 3 2 1 0 3 about 2.
    expected = (-3 - 1 + 0 - 1 - 2 + 1) / (14 * 8) ** 0.5
    assert flat["habits/length_reward_correlation"] == pytest.approx(expected)
    assert kept["per_prompt"]["r"] == {
        "scores": {"RM_A": [0.0, 3.0], "RM_B": [100.0, 103.0]},
        "best": None,
        "texts": [sha256_json(f"r {which}")[:16] for which in ("one", "two")],
    }
    assert kept["examples"] == [
        {
            "id": name,
            "prompt": f"ask {name}",
            "response": f"{name} one",
            "turns": [{"role": "system", "content": "be kind"}],
        }
        for name in ("p", "q")
    ]
    assert "kl" not in kept and "gap_closed" not in kept


def test_a_share_of_right_answers_is_no_log_odds(tmp_path: Path) -> None:
    rows = {"p": (1.0, 1.0), "q": (1.0, 0.0), "r": (0.0, 0.0)}
    tested = contender(tmp_path)
    write_groups(tmp_path / "exact", [sampled(name, row) for name, row in rows.items()])
    scores = {**tested.scores, "exact_match": tmp_path / "exact"}
    flat = measure(tmp_path, replace(tested, scores=scores))[0]
    assert flat["score/exact_match"] == 0.5 and "accuracy/RM_A" in flat
    assert "accuracy/exact_match" not in flat


def test_opponents_are_met_on_the_prompts_both_answered(tmp_path: Path) -> None:
    """They share p and q: won 1, then half lost and half tied; r and s are each other's own."""
    scores = {name: {"RM_A": [value]} for name, value in {"s": 9.0, "q": 2.0, "p": 2.0}.items()}
    rival = opponent(tmp_path / "rival", scores)
    flat, kept = measure(tmp_path, contender(tmp_path), rival=rival)
    (figures,) = kept["against"]["rival"].values()  # RM_B never saw the rival
    assert (figures["win"], figures["lose"], figures["tie"]) == (0.5, 0.25, 0.25)
    assert figures["prompts"] == 2
    assert figures["win_low"] <= 0.5 <= figures["win_high"]
    # Paired by prompt: 3 - 2 and 1.5 - 2.
    assert figures["difference"] == 0.25
    assert figures["difference_se"] == pytest.approx(0.75)
    assert flat["win_rate/rival/RM_A"] == 0.5


def test_chosen_is_the_first_pairs_column_0_of_each_prompt(tmp_path: Path) -> None:
    pairs = [("p", ("best", "worst")), ("q", ("good", "bad")), ("p", ("fine", "poor"))]
    for judge, scores in (
        ("RM_A", [(1.0, 0.0), (2.0, 9.0), (7.0, 7.0)]),
        ("RM_B", [(5.0, 4.0)] * 3),
    ):
        rows = zip(pairs, scores, strict=True)
        write_groups(tmp_path / judge, [group(name, texts, row) for (name, texts), row in rows])
    tested = PolicyUnderTest({j: tmp_path / j for j in ("RM_A", "RM_B")}, None, None, None, None)
    answers = collect_answers(tested, chosen=True)
    assert {name: answer.responses for name, answer in answers.items()} == {
        "p": ("best",),
        "q": ("good",),
    }
    assert answers["p"].scores == {"RM_A": [1.0], "RM_B": [5.0]}
    # Nobody counted tokens of people's texts: characters, all ended.
    assert (answers["p"].tokens, answers["p"].ended) == ([4], [True])
    _, kept = measure(tmp_path, tested, CONFIG.model_copy(update={"chosen": True}))
    assert kept["scores"]["RM_A"] == {"value": 1.5, "standard_error": 0.5, "count": 2}


class World:
    """Knows a true reward: 2 at best; every second response, and both of r, are worth 2."""

    def oracle_reward(self, prompt: Any, response: str) -> float:
        return {"p": 1.0, "q": 2.0 * response.endswith("two"), "r": 2.0}[response[0]]

    def best_reward(self, prompt: Any) -> float:
        return 2.0


def test_the_gap_to_the_best_is_closed_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Start 0, 0, 2 and policy 1, 1, 2 of 2: from 2/3 to 4/3 of 2, half of the gap."""
    monkeypatch.setattr(playground, "load_world", lambda path: World())
    scores = {name: {"oracle": [value]} for name, value in {"p": 0.0, "q": 0.0, "r": 2.0}.items()}
    start = opponent(tmp_path / "start", scores)
    flat, kept = measure(tmp_path, contender(tmp_path, world=tmp_path), start=start)
    assert flat["gap_closed"] == pytest.approx(0.5)
    assert kept["gap_closed"]["prompts"] == 3
    assert kept["scores"]["oracle"]["value"] == pytest.approx(4 / 3)
    assert kept["per_prompt"]["q"]["scores"]["oracle"] == [0.0, 2.0]
    assert kept["per_prompt"]["q"]["best"] == 2.0
    assert list(kept["against"]["start"]) == ["oracle"]


def test_the_start_itself_has_no_gap_to_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playground, "load_world", lambda path: World())
    flat, kept = measure(tmp_path, contender(tmp_path, world=tmp_path))
    assert "gap_closed" not in kept and flat["score/oracle"] == pytest.approx(4 / 3)


def test_kl_is_the_mean_log_ratio_of_the_policys_own_samples(tmp_path: Path) -> None:
    from tasks.models.architecture import ArchitectureConfig, build_policy
    from tasks.models.loading import save_model
    from tasks.models.policy import load_policy
    from tasks.models.scoring.group_scores import logps_groups
    from tasks.models.tokens.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(iter(["p one two"]), 260, tmp_path / "tokenizer")
    shape = ArchitectureConfig(kind="llama", hidden_size=16, layers=2, heads=2, context=64)
    for seed, name in enumerate(("policy", "reference")):
        save_model(build_policy(shape, tokenizer, seed), tokenizer, tmp_path / name, "plain")
    samples = [sampled(name, (0.0, 0.0)) for name in SCORES]
    write_groups(tmp_path / "samples", samples)
    own = {"policy": tmp_path / "policy", "kl_samples": tmp_path / "samples"}
    tested = contender(tmp_path, reference=tmp_path / "reference", **own)
    for temperature in (1.0, 0.8):
        config = CONFIG.model_copy(update={"temperature": temperature})
        folder = tmp_path / f"at-{temperature}"
        folder.mkdir()
        flat, kept = measure(folder, tested, config)
        ours, theirs = (
            logps_groups(
                load_policy(tmp_path / name),
                tokenizer,
                "plain",
                samples,
                Limits(),
                temperature=temperature,
            )
            for name in ("policy", "reference")
        )
        assert flat["kl"] == pytest.approx(
            (sum(map(sum, ours)) - sum(map(sum, theirs))) / 6, abs=1e-5
        )
        assert flat["kl_se"] > 0
        ratios = [ours[1][k] - theirs[1][k] for k in (0, 1)]
        assert kept["per_prompt"]["q"]["log_ratios"] == pytest.approx(ratios, abs=1e-5)


def test_kl_is_taken_on_the_tokens_that_were_drawn(tmp_path: Path) -> None:
    """An untrained policy writes broken characters, whose text has other tokens than were drawn."""
    import torch

    from tasks.models.architecture import ArchitectureConfig, build_policy
    from tasks.models.loading import save_model
    from tasks.models.sample_shards import RolloutConfig, sample_in_shards
    from tasks.models.tokens.encoding import encode_prompt
    from tasks.models.tokens.tokenizer import train_tokenizer
    from tasks.storage.workspace import Workspace

    tokenizer = train_tokenizer(iter(["ask me"]), 260, tmp_path / "tokenizer")
    shape = ArchitectureConfig(kind="llama", hidden_size=16, layers=2, heads=2, context=64)
    models = [build_policy(shape, tokenizer, seed) for seed in (0, 1)]
    with torch.no_grad():
        for parameter in models[0].parameters():
            parameter.mul_(3)
    for model, name in zip(models, ("policy", "reference"), strict=True):
        save_model(model, tokenizer, tmp_path / name, "plain")
    write_groups(tmp_path / "queries", [group(f"n{n}", (), ()) for n in range(12)])
    draws = {"samples": 2, "max_new_tokens": 6, "precision": "fp32"}
    space = Workspace(tmp_path / "work")
    config = RolloutConfig(sampling=draws, template="plain", limits={"max_prompt_tokens": 50})
    sample_in_shards(tmp_path / "policy", tmp_path / "queries", config, space, NullLog(), 3)

    def logp(model: Any, prompt: list[int], ids: list[int]) -> float:
        with torch.no_grad():
            logits = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
        return float(logits.log_softmax(-1)[range(len(ids)), ids].sum())

    ratios, as_drawn = [], []
    for answered in read_groups(space.output):
        prompt = encode_prompt(tokenizer, "plain", answered.prompt, 256)[0]
        for text, ids in zip(answered.responses, answered.extra["ids"], strict=True):
            ratios.append(logp(models[0], prompt, ids) - logp(models[1], prompt, ids))
            as_drawn.append(tokenizer(text, add_special_tokens=False)["input_ids"] == ids)
    assert not all(as_drawn)
    own = {"policy": tmp_path / "policy", "kl_samples": space.output}
    flat, _ = measure(tmp_path, contender(tmp_path, reference=tmp_path / "reference", **own))
    assert flat["kl"] == pytest.approx(sum(ratios) / len(ratios), abs=1e-4)
    assert flat["kl"] > 0
