"""Whether a candidate may become the champion: what was measured of it, against criteria."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.evaluation.config import EVALUATION, EXACT_MATCH, GateCheck, GateConfig
from tasks.evaluation.judging.verdict_table import judged_metrics
from tasks.evaluation.metrics.judge_accuracy import judge_accuracies
from tasks.evaluation.metrics.win_rates import win_rates_of_shares, win_shares
from tasks.evaluation.policy import ORACLE
from tasks.settings.errors import ConfigError
from tasks.storage.files import read_json, write_atomic, write_json

_REMEDY = (
    "Train the judge on more or cleaner pairs, or from a better model, and measure it on more "
    "test pairs; `--set gate.min_judge_accuracy=null` asks nothing of it"
)
"""What to do where the judge is what the gate refuses."""
_KNOWN = {ORACLE: "the true reward", EXACT_MATCH: "the right number"}
"""What judges know that are no models."""
_NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Criterion:
    """One thing that a gate asks of a candidate, and whether the candidate fulfils it."""

    name: str
    """What is measured, as the table of the evidence calls it."""
    found: str
    """The value that was measured, with its error."""
    asked: str
    """The bound that it must keep; a dash where there is none."""
    holds: bool | None
    """Whether it keeps the bound; None where the gate sets none."""


def decide(
    candidate: Path,
    opponent: Path,
    reward_model: Path | None,
    judge: Path | None,
    verdicts: Path | None,
    check: GateCheck,
    seed: int,
    output: Path,
) -> dict[str, float]:
    """Compare a candidate with the champion, and write down which criteria it fulfils.

    The folders are those of evaluations; the stage `decide_promotion` says of what. There is none
    of a judge that nobody measured, or of a reward model in a run without one.

    Raises:
        ConfigError: The two share no prompt that the judge scored.
    """
    mine, theirs = read_json(candidate / EVALUATION), read_json(opponent / EVALUATION)
    metrics = paired_win_rate(mine["per_prompt"], theirs["per_prompt"], check, seed)
    if reward_model:
        metrics["ece"] = float(read_json(reward_model / EVALUATION)["test"]["figures"]["ece"])
    if "kl" in mine:
        metrics |= {"kl": mine["kl"]["value"], "kl_se": mine["kl"]["standard_error"]}
    measured = {check.gate.tester: read_json(judge / EVALUATION)} if judge else {}
    known = next(iter(judge_accuracies(measured, measured)), None)
    if known:
        metrics |= {
            "judge_accuracy": known.value,
            "judge_accuracy_low": known.interval.low,
            "judge_accuracy_high": known.interval.high,
            "judge_accuracy_pairs": float(known.pairs),
        }
    if verdicts:
        metrics |= judged_metrics(verdicts, seed, check.bootstrap_samples)
    criteria = criteria_of(metrics, check)
    holds = all(one.holds is not False for one in criteria)
    told = [known.doubt] if known and known.doubt else []
    told += [_REMEDY] if _judge(metrics, check.gate).holds is False else []
    _write(output, criteria, metrics, check, "".join(f" {one}." for one in told), holds=holds)
    return {"holds": float(holds), **metrics}


def criteria_of(metrics: Mapping[str, float], check: GateCheck) -> list[Criterion]:
    """Return the criteria of the gate, each with what was measured.

    Read are `win_rate` with its `_low` and `_high` and, if measured, `judge_accuracy` with its
    `_low` and `_high`, `ece`, and `kl` with `kl_se`.
    """
    gate = check.gate
    ece, kl = metrics.get("ece"), metrics.get("kl")
    return [
        Criterion(
            f"win rate against {check.opponent}, by {gate.tester}",
            _with_interval(metrics, "win_rate"),
            _asked("interval above", gate.min_win_rate),
            None if gate.min_win_rate is None else metrics["win_rate_low"] > gate.min_win_rate,
        ),
        _judge(metrics, gate),
        *_verdicts(metrics, check),
        Criterion(
            "calibration error of the reward model",
            _NOT_MEASURED if ece is None else f"{ece:.3f}",
            _asked("at most", gate.max_ece),
            # What was not measured cannot be said to hold.
            None if gate.max_ece is None else ece is not None and ece <= gate.max_ece,
        ),
        Criterion(
            "KL to the start, nats",
            _NOT_MEASURED if kl is None else f"{kl:.3f} ± {metrics['kl_se']:.3f}",
            _asked("at most", gate.max_kl),
            None if gate.max_kl is None else kl is not None and kl <= gate.max_kl,
        ),
    ]


def _judge(metrics: Mapping[str, float], gate: GateConfig) -> Criterion:
    """Return whether the judge is shown to judge; one that knows needs no showing."""
    name, least = f"accuracy of {gate.tester} on held-out pairs", gate.min_judge_accuracy
    if known := _KNOWN.get(gate.tester):
        return Criterion(name, known, "-", None)
    return Criterion(
        name,
        _with_interval(metrics, "judge_accuracy"),
        _asked("interval above", least),
        None if least is None else metrics.get("judge_accuracy_low", 0.0) > least,
    )


def _verdicts(metrics: Mapping[str, float], check: GateCheck) -> Iterator[Criterion]:
    """Yield what the gate asks of a language model's verdicts; without one it does not hold."""
    gate = check.gate
    if (least := gate.min_judged_win_rate) is not None:
        yield Criterion(
            f"win rate against {check.opponent}, by the judge",
            _with_interval(metrics, "judged_win_rate"),
            _asked("interval above", least),
            metrics.get("judged_win_rate_low", 0.0) > least,
        )
    if (most := gate.max_flipped) is not None:
        found = metrics.get("judged_flipped")
        yield Criterion(
            "verdicts that flip with the order",
            _NOT_MEASURED if found is None else f"{found:.3f}",
            _asked("at most", most),
            found is not None and found <= most,
        )


def _with_interval(metrics: Mapping[str, float], name: str) -> str:
    if name not in metrics:
        return _NOT_MEASURED
    return f"{metrics[name]:.3f} [{metrics[f'{name}_low']:.3f}, {metrics[f'{name}_high']:.3f}]"


def _asked(words: str, bound: float | None) -> str:
    return "-" if bound is None else f"{words} {bound:g}"


def paired_win_rate(
    mine: Mapping[str, Any], theirs: Mapping[str, Any], check: GateCheck, seed: int
) -> dict[str, float]:
    """Return the paired win rate, ties as halves, with its 95 % interval over prompts."""
    judge = check.gate.tester
    shared = [
        key
        for key in mine
        if key in theirs and judge in mine[key]["scores"] and judge in theirs[key]["scores"]
    ]
    if not shared:
        raise ConfigError(
            f"candidate and {check.opponent} have no prompt in common that {judge} scored: "
            "set gate.tester to a testing reward model of this run"
        )
    ours = [mine[key]["scores"][judge] for key in shared]
    others = [theirs[key]["scores"][judge] for key in shared]
    halves = [(win + tie / 2, lose + tie / 2, 0.0) for win, lose, tie in win_shares(ours, others)]
    rates = win_rates_of_shares(halves, seed=seed, resamples=check.bootstrap_samples)
    return {
        "win_rate": rates.win,
        "win_rate_low": rates.win_interval.low,
        "win_rate_high": rates.win_interval.high,
        "prompts": float(rates.prompts),
    }


def _write(
    output: Path,
    criteria: list[Criterion],
    metrics: Mapping[str, float],
    check: GateCheck,
    doubt: str,
    *,
    holds: bool,
) -> None:
    """Write the evidence for people and for programs."""
    rows = [[one.name, one.found, one.asked, _verdict(one.holds)] for one in criteria]
    columns = ["criterion", "found", "asked", "verdict"]
    title = "The gate holds" if holds else "The gate refuses"
    note = f"Paired over {metrics['prompts']:.0f} test prompts; ties count half; 95 % interval."
    note += doubt
    lines = [f"# {title}", "", "| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    write_atomic(output / "report.md", "\n".join([*lines, "", note, ""]))
    table = {"title": title, "columns": columns, "rows": rows, "note": note}
    evidence = {
        "holds": holds,
        "criteria": [
            {"name": one.name, "figure": one.found, "asked": one.asked, "holds": one.holds}
            for one in criteria
        ],
        "figures": dict(metrics),
        "gate": check.model_dump(mode="json"),
        "tables": {"criteria": table},
    }
    write_json(output / "report.json", evidence)


def _verdict(holds: bool | None) -> str:
    return {True: "holds", False: "refused", None: "not asked"}[holds]
