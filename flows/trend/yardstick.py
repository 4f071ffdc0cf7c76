"""Scheduled runs are measured by what the first one pinned, so that their figures compare.

Pinned are test prompts, testing reward models, the settings of evaluation and the first champion.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from flows.registry import recorded_flow
from flows.steps.evaluation import evaluate_on_pairs
from tasks.endpoints.ledger import Ledger
from tasks.evaluation.config import EVALUATION, GateCheck, YardstickConfig
from tasks.evaluation.gate import paired_win_rate
from tasks.stages.artifact import Artifact
from tasks.stages.remote.transfer import fetch_artifact
from tasks.stages.retention.yardsticks import Series, TickRow, TrendRecords
from tasks.stages.runs.aliases import CHAMPION, AliasRecord, current_alias
from tasks.stages.runs.context import RunContext
from tasks.stages.runs.references import referenced_artifact
from tasks.stages.runs.usage import read_usage
from tasks.storage.digests import sha256_json
from tasks.storage.files import read_json
from tasks.storage.home import Home

_REWARDS = "reward model evaluation"


def series_of(
    run: RunContext,
    records: TrendRecords,
    deployment: str,
    yardstick: YardstickConfig,
    draft: AliasRecord,
) -> Series:
    """Return the series that a scheduled run belongs to; a new one pins what the run measured with.

    Args:
        run: Where it is said that a series begins.
        records: Of the deployment.
        deployment: `FLOW/NAME`.
        yardstick: As configured now.
        draft: What the run offers.
    """
    known, digest = records.series(), sha256_json(yardstick.model_dump())
    if known and known[-1].yardstick == digest:
        return known[-1]
    champion = current_alias(run.home, draft.flow, CHAMPION) or draft
    began = records.begin_series(
        Series(
            number=known[-1].number + 1 if known else 1,
            deployment=deployment,
            flow=draft.flow,
            yardstick=digest,
            run=draft.run,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            champion=champion.models["policy"],
            champion_run=champion.run,
            basis=draft.basis,
            config=draft.config,
        )
    )
    before = f"; its figures do not compare with those of {known[-1].number}" if known else ""
    run.progress.note(
        "yardstick",
        f"series {began.number} of {deployment} begins, with the prompts and testers of "
        f"{began.run}, against the policy of {began.champion_run}{before}",
    )
    return began


def measure_tick(run: RunContext, series: Series, draft: AliasRecord, due: str) -> TickRow:
    """Measure what a scheduled run offers by the yardstick of its series.

    Raises:
        ConfigError: Something pinned, or what the run offers, is gone.
    """
    entry = recorded_flow(series.flow)
    assert entry.judge_champion is not None, "a flow without judges offers nothing"
    config: Any = entry.config_class().model_validate(series.config)
    said_by = f"the yardstick of {series.deployment}"
    basis = {
        name: referenced_artifact(run.home, reference, name, said_by=said_by)
        for name, reference in series.basis.items()
    }
    first = referenced_artifact(run.home, series.champion, "first champion", said_by=said_by)
    policy = _offered(run.home, draft, "policy")
    theirs = entry.judge_champion(first, config, basis, "first champion, by the yardstick")
    ours = entry.judge_champion(policy, config, basis, "policy, by the yardstick")
    metrics = _policy_metrics(run, ours, theirs, config)
    metrics |= _reward_metrics(run, draft, config, basis)
    metrics |= {
        "hours": read_usage(run.home, run.run_id).hours,
        "dollars": Ledger(run.home.ledger, None).spent_by(run.run_id).dollars,
    }
    prompts = "data" if "data" in series.basis else "test"
    pins = {
        "prompts": series.basis[prompts],
        "tester": series.basis.get(config.gate.tester, ""),
        "champion": series.champion,
    }
    return TickRow(draft.run, series.number, due, metrics, pins)


def _policy_metrics(
    run: RunContext, ours: Artifact, theirs: Artifact, config: Any
) -> dict[str, float]:
    """Return the win rate, the KL and the length of a policy."""
    mine, others = (
        read_json(fetch_artifact(one, run.home, run.remote) / EVALUATION) for one in (ours, theirs)
    )
    check = GateCheck(
        gate=config.gate,
        opponent="first champion",
        bootstrap_samples=config.evaluation.bootstrap_samples,
    )
    metrics = paired_win_rate(mine["per_prompt"], others["per_prompt"], check, config.seed)
    if "kl" in mine:
        metrics["kl"] = float(mine["kl"]["value"])
    if "length" in mine["habits"]:
        metrics["length"] = float(mine["habits"]["length"])
    return metrics


def _reward_metrics(
    run: RunContext, draft: AliasRecord, config: Any, basis: Mapping[str, Artifact]
) -> dict[str, float]:
    """Return how well the run's reward model ranks the pinned pairs; nothing where it has none."""
    if "reward_model" not in draft.models or _REWARDS not in basis or _REWARDS not in draft.basis:
        return {}
    pairs = {"test": (basis.get("data") or basis["test"]).part("test")}
    model = _offered(run.home, draft, "reward_model")
    found = evaluate_on_pairs(config, "reward model, by the yardstick", model, pairs).metrics
    return {name: found[f"test/{name}"] for name in ("accuracy", "ece") if f"test/{name}" in found}


def _offered(home: Home, draft: AliasRecord, role: str) -> Artifact:
    said_by = f"the {role} of {draft.run}"
    return referenced_artifact(home, draft.models[role], role, said_by=said_by)
