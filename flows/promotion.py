"""The flow `promotion`: does a candidate become the champion? And the way back, `demote`.

The evidence is made by ordinary stages: what the candidate's run measured is used again, and the
champion is sampled and scored on the candidate's test prompts by the candidate's judges.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from flows.configs.promotion import PromotionConfig
from flows.configs.recurring import NotifyConfig
from flows.registry import recorded_flow
from flows.runs.flow_decorator import sparring_flow
from flows.schedule.notification import tell
from tasks.decide_promotion import decide_promotion
from tasks.evaluation.config import GateCheck, GateConfig
from tasks.evaluation.judging.config import match_name
from tasks.judge_responses import judge_responses
from tasks.settings.errors import ConfigError, UnknownNameError
from tasks.stages.artifact import Artifact
from tasks.stages.lineage.bans import why_barred
from tasks.stages.lineage.offers import kept_offer
from tasks.stages.manifest import InputRecord, load_manifest
from tasks.stages.runs.aliases import (
    CANDIDATE,
    CHAMPION,
    AliasRecord,
    alias_history,
    current_alias,
    log_alias,
    move_alias,
    records_before,
    require_alias,
)
from tasks.stages.runs.context import RunContext, current_run
from tasks.stages.runs.naming import find_run
from tasks.stages.runs.references import referenced_artifact
from tasks.storage.home import Home


@sparring_flow
def promotion(config: PromotionConfig) -> Artifact:
    """Gather the evidence, hold it against the gate, and move `champion` when the gate holds."""
    run = current_run()
    candidate = _record(run.home, config.flow, CANDIDATE, config.candidate)
    champion = None
    if config.champion:
        champion = _record(run.home, config.flow, CHAMPION, config.champion)
    decision = _gather_evidence(run.home, candidate, champion, config.gate)
    if run.mode == "execute" and not config.dry_run:
        holds = bool(decision.metrics["holds"])
        if holds:
            _crown(run, candidate, decision, config.champion)
        _tell(candidate, run.run_id, holds=holds)
    return decision


def _tell(candidate: AliasRecord, run: str, *, holds: bool) -> None:
    """Tell whoever the candidate's run names what became of it."""
    said = candidate.config.get("notify")
    notify = NotifyConfig.model_validate(said) if said else None
    done = "is the champion" if holds else "was refused by the gate"
    subject = f"the candidate {candidate.run} of {candidate.flow} {done}"
    evidence = f"`sparring report {run}` shows the evidence"
    tell(notify, "promoted" if holds else "gate_refused", subject, evidence)


def _gather_evidence(
    home: Home, candidate: AliasRecord, champion: AliasRecord | None, gate: GateConfig
) -> Artifact:
    """Compare a candidate with the champion, or with its own start where there is none."""
    entry = recorded_flow(candidate.flow)
    settings = {**candidate.config, "gate": gate.model_dump()}
    config: Any = entry.config_class().model_validate(settings)
    basis = {
        name: referenced_artifact(home, reference, name, said_by=f"{name} of {candidate.run}")
        for name, reference in candidate.basis.items()
    }
    opponent, name = basis["start evaluation"], "start"
    if champion is not None:
        assert entry.judge_champion is not None, "a flow without judges makes no candidates"
        reference, said_by = champion.models["policy"], f"policy of the champion {champion.run}"
        policy = referenced_artifact(home, reference, CHAMPION, said_by=said_by)
        opponent, name = entry.judge_champion(policy, config, basis), CHAMPION
    resamples = config.evaluation.bootstrap_samples
    check = GateCheck(gate=gate, opponent=name, bootstrap_samples=resamples)
    return decide_promotion(
        basis["policy evaluation"],
        opponent,
        basis.get("reward model evaluation"),
        basis.get(f"{gate.tester} evaluation"),
        _verdicts(home, basis["policy evaluation"], opponent, config, name),
        config=check,
        seed=config.seed,
        label=candidate.run,
    )


def _verdicts(
    home: Home, candidate: Artifact, opponent: Artifact, config: Any, name: str
) -> Artifact | None:
    """Let the judge of the candidate's run compare what was evaluated; None if nobody asks it."""
    if not config.gate.asks_judge or opponent.is_pending:
        return None  # of an opponent that has yet to answer, a plan knows no answers
    (ours, our_scores), (theirs, their_scores) = (
        evaluated_answers(home, evaluation) for evaluation in (candidate, opponent)
    )
    if config.judge.wants_reference:
        raise ConfigError(
            f"the gate asks for the judge, whose question {config.judge.question!r} shows a golden "
            "answer: set judge.question to one without in the run that makes the candidate"
        )
    return judge_responses(
        ours, theirs, None, our_scores, their_scores,
        config=config.judge, seed=config.seed, label=match_name(CANDIDATE, name),
    )  # fmt: skip


def evaluated_answers(home: Home, evaluation: Artifact) -> tuple[Artifact, dict[str, Artifact]]:
    """Return the answers behind an evaluation, and the same as scored by each reward model.

    Raises:
        ConfigError: Something of it is gone, or nobody scored them.
    """
    scores = {
        role.partition(".")[2]: _input_of(home, record)
        for role, record in _inputs(home, evaluation).items()
        if role.startswith("scores.")
    }
    for scored in scores.values():
        return _input_of(home, _inputs(home, scored)["responses"]), scores
    raise ConfigError(f"no reward model scored the answers behind {evaluation.label}")


def _inputs(home: Home, artifact: Artifact) -> Mapping[str, InputRecord]:
    made = load_manifest(home, artifact.stage, artifact.key)
    return made.inputs if made else {}


def _input_of(home: Home, record: InputRecord) -> Artifact:
    reference = f"{record.stage}/{record.key}"
    found = referenced_artifact(home, reference, record.stage, said_by="an input of an evaluation")
    return found.part(record.part) if record.part else found


def _crown(run: RunContext, candidate: AliasRecord, decision: Artifact, after: int) -> None:
    """Move `champion` to a candidate, unless it moved since its record of the number `after`."""
    now = current_alias(run.home, candidate.flow, CHAMPION)
    if now is not None and now.models == candidate.models and not now.restores:
        return  # a repeated attempt at a decision that was carried out
    evidence: dict[str, Any] = {
        name: value for name, value in decision.metrics.items() if value - value == 0
    }
    evidence["decision"] = f"{decision.stage}/{decision.key}"
    draft = replace(candidate, alias=CHAMPION, reason="the gate held", evidence=evidence)
    log_alias(run.home, run.spool, move_alias(run.home, draft, after))


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
