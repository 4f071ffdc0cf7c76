"""What an APO run found, in sentences that say what the intervals allow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import Any

from tasks.evaluation.apo.game import GameState
from tasks.evaluation.config import ReportConfig
from tasks.evaluation.metrics.estimates import Estimate
from tasks.evaluation.metrics.judge_accuracy import judge_accuracies
from tasks.evaluation.metrics.length_drift import unfinished
from tasks.evaluation.report.headline import Contender

Evaluations = Mapping[str, Any]
_Z = 1.96


def findings(
    config: ReportConfig,
    policies: Evaluations,
    reward_models: Evaluations,
    states: Mapping[str, list[GameState]],
    *,
    by_people: bool = False,
) -> list[str]:
    """Say what happened to the policy, and between it and the reward model, a sentence each.

    The last ones say how much the judges know, and what the run therefore does not show; less is
    not shown where `by_people` matches were judged.
    """
    return [
        *([config.gold_note] if config.gold_note else []),
        *_movement(config, policies),
        *_progress(config, policies),
        *_against_baseline(config, policies),
        *_adaptation(states),
        *_drift(config, policies),
        *unfinished(
            {
                entry.name: policies[entry.name]["habits"]["ended"]
                for entry in config.entries
                if entry.name != "chosen"
            },
            "evaluation.sampling.max_new_tokens",
        ),
        *_judges(config, reward_models),
        *_not_shown(config, policies, reward_models, by_people=by_people),
    ]


def contenders(config: ReportConfig, policies: Evaluations, judge: str) -> list[Contender]:
    """Return the start and the end of every line of the game, as the judge scored them."""
    last = {entry.side: entry.name for entry in config.entries if entry.epoch}
    return [_contender(name, policies[name], judge) for name in ("start", *last.values())]


def _contender(name: str, evaluation: Mapping[str, Any], judge: str) -> Contender:
    scored = {key: fmean(row["scores"][judge]) for key, row in evaluation["per_prompt"].items()}
    kl = None if name == "start" else Estimate(**evaluation["kl"])
    return Contender(name, Estimate(**evaluation["scores"][judge]), [scored], kl)


def decided(difference: float, error: float, prompts: float = 2) -> str:
    """Say whether a paired difference is better, worse or, with 0 in its 95 % interval, undecided.

    Of a single prompt there is no interval, and nothing is decided.

    Example:
        >>> decided(1.0, 0.2), decided(-1.0, 0.2), decided(0.1, 0.2)
        ('better', 'worse', 'not decided')
    """
    if abs(difference) <= _Z * error or difference == 0 or prompts < 2:
        return "not decided"
    return "better" if difference > 0 else "worse"


def _movement(config: ReportConfig, policies: Evaluations) -> Iterator[str]:
    for entry in config.entries:
        if not entry.epoch:
            continue
        kl = Estimate(**policies[entry.name]["kl"])
        low, high = (kl.value + side * _Z * kl.standard_error for side in (-1, 1))
        is_shown = low > 0 and kl.count > 1
        verdict = "has moved" if is_shown else "is not shown to have moved"
        yield (
            f"{entry.name} {verdict}: KL to the start {kl.value:.3f} nats "
            f"(95 %: {low:.3f} to {high:.3f})"
        )


def _progress(config: ReportConfig, policies: Evaluations) -> Iterator[str]:
    for entry in config.entries:
        gap = policies[entry.name].get("gap_closed") or {}
        if entry.epoch and gap.get("share") is not None:
            low, high = gap["interval"]["low"], gap["interval"]["high"]
            verb = "closes" if low > 0 else "falls back by" if high < 0 else "is not shown to close"
            share = abs(gap["share"]) if high < 0 else gap["share"]
            yield (
                f"{entry.name} {verb} {share:.0%} of the gap between the start and the best "
                f"achievable oracle reward (95 %: {low:.0%} to {high:.0%})"
            )


def _against_baseline(config: ReportConfig, policies: Evaluations) -> Iterator[str]:
    for entry in config.entries:
        rival = entry.rival
        for judge, metrics in policies[entry.name]["against"].get(rival, {}).items():
            difference, error = metrics["difference"], metrics["difference_se"]
            yield (
                f"{entry.name} against {rival} under {judge}: {difference:+.3f} ± {error:.3f} per "
                f"prompt, {decided(difference, error, metrics['prompts'])}"
            )


def _adaptation(states: Mapping[str, list[GameState]]) -> Iterator[str]:
    base = {state.epoch: state for state in states.get("base", [])}
    for state in states.get("adapted", []):
        fixed = base[state.epoch]
        yield (
            f"epoch {state.epoch}: on held-out prompts the adapted reward model ranks gold above "
            f"fresh samples in {state.gold_found}, RM_Base in {fixed.gold_found}; on human dev "
            f"pairs {_share(state)} against {_share(fixed)}"
        )
    if "before" in states:
        last = states["before"][-1]
        yield f"after the last epoch: {last.verdict}"


def _share(state: GameState) -> str:
    return f"{state.human_accuracy:.1%} ± {state.human_accuracy_se:.1%}"


def _judges(config: ReportConfig, reward_models: Evaluations) -> Iterator[str]:
    scorers = (entry.scoring for entry in config.entries if entry.epoch)
    names = dict.fromkeys((*config.seen_by_testers, *scorers))
    yield from (one.sentence for one in judge_accuracies(names, reward_models))


def _not_shown(
    config: ReportConfig, policies: Evaluations, reward_models: Evaluations, *, by_people: bool
) -> Iterator[str]:
    if "oracle" in policies["start"]["scores"]:
        return
    doubts = [one.doubt for one in judge_accuracies(config.seen_by_testers, reward_models)]
    doubt = ", and none of them is shown to know them" if all(doubts) else ""
    told = (
        "people judged the matches below; every other score here"
        if by_people
        else "not shown: whether people would prefer the answers; every score here"
    )
    yield f"{told} is that of a model of their preferences{doubt}"


def _drift(config: ReportConfig, policies: Evaluations) -> Iterator[str]:
    start = policies["start"]["habits"]
    for entry in config.entries:
        drift = policies[entry.name]["habits"]
        if not entry.epoch:
            continue
        longer, longer_error = _change(start, drift, "length")
        if start["length"] and abs(longer) > max(0.5 * start["length"], _Z * longer_error):
            yield (
                f"{entry.name} answers with {drift['length']:.1f} tokens on average, the start "
                f"with {start['length']:.1f}: look for length hacking"
            )
        fewer, fewer_error = _change(drift, start, "ended")
        if fewer > max(0.1, _Z * fewer_error):
            yield (
                f"{entry.name} ends {drift['ended']:.0%} of its answers by itself, the start "
                f"{start['ended']:.0%}: it is forgetting to stop"
            )


def _change(before: Mapping[str, Any], after: Mapping[str, Any], habit: str) -> tuple[float, float]:
    """Return by how much a habit differs, and the standard error of that."""
    error = math.hypot(before.get(f"{habit}_se", 0.0), after.get(f"{habit}_se", 0.0))
    return after[habit] - before[habit], error
