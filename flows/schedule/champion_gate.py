"""The gate is asked: the evidence about a candidate, and what becomes of it.

`sparring promote` asks it, and a scheduled run at its end where `schedule.promote` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flows.configs.recurring import NotifyConfig
from flows.registry import recorded_flow
from flows.schedule.notification import tell
from tasks.decide_promotion import decide_promotion
from tasks.evaluation.config import GateCheck, GateConfig
from tasks.evaluation.judging.config import match_name
from tasks.judge_responses import judge_responses
from tasks.settings.errors import ConfigError
from tasks.stages.artifact import Artifact
from tasks.stages.manifest import InputRecord, load_manifest
from tasks.stages.runs.aliases import (
    CANDIDATE,
    CHAMPION,
    AliasRecord,
    current_alias,
    log_alias,
    move_alias,
)
from tasks.stages.runs.context import RunContext
from tasks.stages.runs.references import referenced_artifact
from tasks.storage.home import Home


def tell_decision(candidate: AliasRecord, run: str, *, holds: bool) -> None:
    """Tell whoever the candidate's run names what became of it."""
    said = candidate.config.get("notify")
    notify = NotifyConfig.model_validate(said) if said else None
    done = "is the champion" if holds else "was refused by the gate"
    subject = f"the candidate {candidate.run} of {candidate.flow} {done}"
    evidence = f"`sparring report {run}` shows the evidence"
    tell(notify, "promoted" if holds else "gate_refused", subject, evidence)


def gather_evidence(
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


def crown(run: RunContext, candidate: AliasRecord, decision: Artifact, after: int) -> None:
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
