"""All metrics of one policy: scores, oracle, KL, lengths, and how it does against others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tasks.data.files import read_groups
from tasks.data.groups import Group, scores_of
from tasks.data.selection import sample_place
from tasks.evaluation.config import EVALUATION, EXACT_MATCH, PolicyEvaluation
from tasks.evaluation.metrics.estimates import clustered_mean
from tasks.evaluation.metrics.judge_scores import classifier_accuracy, mean_spread
from tasks.evaluation.metrics.kl import kl_to_reference, sampled_logps
from tasks.evaluation.metrics.length_drift import length_drift
from tasks.evaluation.metrics.oracle_gap import gap_closed
from tasks.evaluation.metrics.win_rates import paired_difference, win_rates
from tasks.settings.log import Log
from tasks.storage.digests import sha256_json
from tasks.storage.files import read_json, write_json

ORACLE = "oracle"
START = "start"


@dataclass(frozen=True, slots=True)
class PolicyUnderTest:
    """The folders of a contender's responses and models."""

    scores: Mapping[str, Path]
    """Its responses, scored, by the name of the testing reward model."""
    policy: Path | None
    """Model folder; None for responses that no model here wrote."""
    reference: Path | None
    """Model folder of the SFT policy that the KL is measured to."""
    kl_samples: Path | None
    """Folder of untruncated samples of the policy, which estimate the KL."""
    world: Path | None
    """Path of the playground's world.json; None for real data, which has no oracle."""


@dataclass(slots=True)
class Answer:
    """A contender's responses to one prompt, and all that was measured of them."""

    prompt: str
    """The last turn of the prompt, which the report shows."""
    turns: list[dict[str, str]]
    """Role and content of what came before it: the system prompt, earlier turns."""
    responses: tuple[str, ...]
    """The contender's responses."""
    tokens: list[int]
    """Tokens of each response, or characters where nobody counted tokens."""
    ended: list[bool]
    """Whether each response ended with EOS."""
    scores: dict[str, list[float]] = field(default_factory=dict)
    """The score of each response, by judge."""
    best: float | None = None
    """Best achievable oracle reward; None without a playground."""

    @property
    def digests(self) -> list[str]:
        """A digest of each response, by which equal texts of two contenders are told."""
        return [sha256_json(text.strip())[:16] for text in self.responses]

    def example(self, key: str) -> dict[str, Any]:
        """Return what the report shows of a prompt: its turns and the first response."""
        shown: dict[str, Any] = {"id": key, "prompt": self.prompt, "response": self.responses[0]}
        return shown | ({"turns": self.turns} if self.turns else {})


def measure_policy(
    contender: PolicyUnderTest,
    opponents: Mapping[str, Path],
    config: PolicyEvaluation,
    seed: int,
    output: Path,
    log: Log,
) -> dict[str, float]:
    """Measure a contender, compare it with others on the prompts they share, return headlines.

    The opponents are output folders of earlier evaluations; `evaluation.json` is written.
    """
    answers = collect_answers(contender, chosen=config.chosen)
    result: dict[str, Any] = {
        "queries": len(answers),
        **judged(answers),
        "habits": length_drift(
            [answer.tokens for answer in answers.values()],
            [answer.ended for answer in answers.values()],
            [answer.scores[min(contender.scores)] for answer in answers.values()],
        ).metrics(),
        "per_prompt": {
            key: {"scores": answer.scores, "best": answer.best, "texts": answer.digests}
            for key, answer in answers.items()
        },
        "examples": [
            answers[key].example(key)
            for key in sorted(answers, key=sample_place)[: config.examples]
        ],
    }
    if contender.policy and contender.reference and contender.kl_samples:
        models = (contender.policy, contender.reference)
        ratios, result["kl"] = _divergence(*models, contender.kl_samples, config)
        for key in result["per_prompt"].keys() & ratios.keys():
            result["per_prompt"][key]["log_ratios"] = ratios[key]
    result["against"] = {
        name: compare(answers, read_json(path / EVALUATION)["per_prompt"], config, seed)
        for name, path in opponents.items()
    }
    if contender.world and START in opponents:
        start = read_json(opponents[START] / EVALUATION)["per_prompt"]
        result["gap_closed"] = _gap(answers, start, config, seed)
    write_json(output / EVALUATION, result)
    return flat_metrics(result)


def collect_answers(contender: PolicyUnderTest, *, chosen: bool) -> dict[str, Answer]:
    """Gather a contender's responses and all its scores by prompt id.

    With `chosen` only column 0 of each pair counts, the chosen response.
    """
    world = None
    if contender.world:
        from tasks.data.playground.world import load_world

        world = load_world(contender.world)
    answers: dict[str, Answer] = {}
    for judge, folder in sorted(contender.scores.items()):
        for group in read_groups(folder):
            keep = 1 if chosen else len(group.responses)
            answer = answers.get(group.id)
            if answer is None:
                answer = answers[group.id] = _answer(group, keep)
                if world:
                    answer.scores[ORACLE] = [
                        world.oracle_reward(group.prompt, text) for text in answer.responses
                    ]
                    answer.best = world.best_reward(group.prompt)
            answer.scores.setdefault(judge, list(scores_of(group)[:keep]))
    return answers


def judges(answers: Mapping[str, Answer]) -> list[str]:
    """Return who scored these answers, sorted."""
    return sorted(next(iter(answers.values())).scores)


def judged(answers: Mapping[str, Answer]) -> dict[str, dict[str, Any]]:
    """Return what the judges' scores say, each an estimate with a standard error over prompts.

    Returns:
        Per judge: `scores`, the mean in reward units; `accuracies`, the mean of σ(score), of those
        whose scores are no shares; and `spreads`, the deviation among a prompt's responses.
    """
    metrics = {"scores": clustered_mean, "accuracies": classifier_accuracy, "spreads": mean_spread}
    return {
        name: {
            judge: asdict(metric([answer.scores[judge] for answer in answers.values()]))
            for judge in judges(answers)
            if (name, judge) != ("accuracies", EXACT_MATCH)
        }
        for name, metric in metrics.items()
    }


def compare(
    answers: Mapping[str, Answer], other: Mapping[str, Any], config: PolicyEvaluation, seed: int
) -> dict[str, Any]:
    """Compare with another contender's `per_prompt` on the prompts both answered.

    Per judge there are win, lose and tie shares with intervals, and the paired difference.
    """
    shared = [key for key in answers if key in other]
    result = {}
    for judge in judges(answers):
        if not all(judge in other[key]["scores"] for key in shared):
            continue
        ours = [answers[key].scores[judge] for key in shared]
        theirs = [other[key]["scores"][judge] for key in shared]
        rates = win_rates(ours, theirs, seed=seed, resamples=config.bootstrap_samples)
        difference = paired_difference(ours, theirs)
        result[judge] = {
            **rates.metrics(),
            "difference": difference.value,
            "difference_se": difference.standard_error,
        }
    return result


def flat_metrics(result: Mapping[str, Any]) -> dict[str, float]:
    """Return the headline metrics of an evaluation as flat names and floats."""
    flat = {f"score/{judge}": metric["value"] for judge, metric in result["scores"].items()}
    flat |= {f"accuracy/{judge}": one["value"] for judge, one in result["accuracies"].items()}
    flat |= {f"spread/{judge}": one["value"] for judge, one in result["spreads"].items()}
    flat |= {f"habits/{name}": value for name, value in result["habits"].items()}
    if "kl" in result:
        flat |= {"kl": result["kl"]["value"], "kl_se": result["kl"]["standard_error"]}
    for opponent, by_judge in result["against"].items():
        for judge, metric in by_judge.items():
            flat[f"win_rate/{opponent}/{judge}"] = metric["win"]
    if result.get("gap_closed", {}).get("share") is not None:
        flat["gap_closed"] = result["gap_closed"]["share"]
    return flat


def _answer(group: Group, keep: int) -> Answer:
    tokens = group.extra.get("tokens") or [len(text) for text in group.responses]
    ended = group.extra.get("ended") or [True] * len(group.responses)
    return Answer(
        prompt=group.prompt[-1].content if group.prompt else "",
        turns=[turn._asdict() for turn in group.prompt[:-1]],
        responses=group.responses[:keep],
        tokens=list(tokens[:keep]),
        ended=list(ended[:keep]),
    )


def _divergence(
    policy: Path, reference: Path, samples: Path, config: PolicyEvaluation
) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Return log policy − log reference of each sample by prompt id, nats, and its mean."""
    groups = list(read_groups(samples))

    def logps(folder: Path) -> list[list[float]]:
        temperature = config.temperature
        return sampled_logps(
            folder, groups, config.template, config.limits, temperature=temperature
        )

    ours, theirs = logps(policy), logps(reference)
    ratios = {
        group.id: [a - b for a, b in zip(*rows, strict=True)]
        for group, *rows in zip(groups, ours, theirs, strict=True)
    }
    return ratios, asdict(kl_to_reference(ours, theirs))


def _gap(
    answers: Mapping[str, Answer], start: Mapping[str, Any], config: PolicyEvaluation, seed: int
) -> dict[str, Any]:
    shared = [key for key in answers if key in start]
    closed = gap_closed(
        [start[key]["scores"][ORACLE] for key in shared],
        [answers[key].scores[ORACLE] for key in shared],
        [answers[key].best for key in shared],
        seed=seed,
        resamples=config.bootstrap_samples,
    )
    return asdict(closed)
