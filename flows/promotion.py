"""The flow `promotion`: does a candidate become the champion? And the way back, `demote`.

The evidence is made by ordinary stages: what the candidate's run measured is used again, and the
champion is sampled and scored on the candidate's test prompts by the candidate's judges.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from flows.configs.promotion import PromotionConfig
from flows.runs.flow_decorator import sparring_flow
from flows.schedule.champion_gate import crown, gather_evidence, tell_decision
from tasks.settings.errors import ConfigError, UnknownNameError
from tasks.stages.artifact import Artifact
from tasks.stages.lineage.bans import why_barred
from tasks.stages.lineage.offers import kept_offer, make_candidate
from tasks.stages.runs.aliases import (
    CANDIDATE,
    CHAMPION,
    AliasRecord,
    alias_history,
    move_alias,
    records_before,
    require_alias,
)
from tasks.stages.runs.context import current_run
from tasks.stages.runs.naming import find_run
from tasks.stages.runs.references import referenced_artifact
from tasks.storage.home import Home


@sparring_flow
def promotion(config: PromotionConfig) -> Artifact:
    """Gather the evidence, hold it against the gate, and move `champion` when the gate holds."""
    run = current_run()
    candidate = _candidate(run.home, config)
    champion = None
    if config.champion:
        champion = _record(run.home, config.flow, CHAMPION, config.champion)
    decision = gather_evidence(run.home, candidate, champion, config.gate)
    if run.mode == "execute" and not config.dry_run:
        holds = bool(decision.metrics["holds"])
        if holds:
            if not candidate.number:
                asked = replace(candidate, reason="`sparring promote` asked for it")
                candidate = make_candidate(run.home, run.spool, asked)
            crown(run, candidate, decision, config.champion)
        tell_decision(candidate, run.run_id, holds=holds)
    return decision


def _candidate(home: Home, config: PromotionConfig) -> AliasRecord:
    """Return what is to be promoted: a record of `candidate`, or what a run offered."""
    if config.candidate:
        return _record(home, config.flow, CANDIDATE, config.candidate)
    offer = kept_offer(home, config.run)
    if offer is None:
        raise ConfigError(f"what the run {config.run} offered is gone from this machine")
    return offer


def find_candidate(home: Home, flow: str, name: str) -> AliasRecord:
    """Return the candidate to promote: the present one as `candidate`, or what a run offered.

    The run is named by its id, the beginning of one, `latest`, or `champion`. If it never was the
    candidate the record has the number 0.

    Raises:
        ConfigError: There is none, or the run offered nothing.
    """
    if name == CANDIDATE:
        return require_alias(home, flow, CANDIDATE)
    history = alias_history(home, flow, CANDIDATE)
    if not any(record.run.startswith(name) for record in history):
        with suppress(UnknownNameError):
            name = find_run(home, name).id
    found = [record for record in history if record.run.startswith(name)]
    if not found and (offer := kept_offer(home, name)) is not None and offer.flow == flow:
        return offer
    if len({record.run for record in found}) > 1:
        several = ", ".join(dict.fromkeys(record.run for record in found))
        raise ConfigError(f"{name!r} is the beginning of several: {several}; give more of it")
    if not found:
        known = ", ".join(record.run for record in history[-5:]) or "none yet"
        raise ConfigError(
            f"run {name!r} was no candidate of {flow}: a run becomes one when it ends well; the "
            f"last ones: {known}"
        )
    return found[-1]


def demote_champion(home: Home, flow: str) -> tuple[AliasRecord, AliasRecord]:
    """Give `champion` back to who had it before; return the record that was left, and the new one.

    Those that are barred are passed over.

    Raises:
        ConfigError: There is no champion, or none before it, or its models are gone.
        AliasMovedError: Somebody else moved it in the meantime.
    """
    now = require_alias(home, flow, CHAMPION)
    earlier = records_before(alias_history(home, flow, CHAMPION))
    if not earlier:
        raise ConfigError(f"{now.run} is the first champion of {flow}: nobody was before it")
    before = next((one for one in earlier if not why_barred(home, one.models)), None)
    if before is None:
        raise ConfigError(f"all champions of {flow} before {now.run} are barred")
    for role, reference in before.models.items():
        referenced_artifact(home, reference, role, said_by=f"{role} of the champion {before.run}")
    reason = f"{now.run} was demoted"
    draft = replace(before, reason=reason, restores=before.number)
    return now, move_alias(home, draft, now.number)


def _record(home: Home, flow: str, alias: str, number: int) -> AliasRecord:
    return alias_history(home, flow, alias)[number - 1]
