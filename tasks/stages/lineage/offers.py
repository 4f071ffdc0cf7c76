"""What a run offers as its result: kept with the run, and made the candidate when that is asked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict

from tasks.stages.runs.aliases import CANDIDATE, AliasRecord, current_alias, log_alias, move_alias
from tasks.stages.runs.context import RunContext
from tasks.stages.runs.references import reference_of
from tasks.stages.runs.run_store import OFFER, run_folder
from tasks.storage.errors import CorruptError
from tasks.storage.files import write_atomic
from tasks.storage.home import Home
from tasks.storage.sealed import sealed_json, unsealed_json
from tasks.tracking.spool import Spool


def keep_offer(run: RunContext, flow: str, metrics: Mapping[str, float]) -> AliasRecord | None:
    """Write down what a run offered, as the move of `candidate` that it would be.

    Args:
        run: The run, at its end.
        flow: What its aliases are named by, `FLOW` or `PROJECT.FLOW`.
        metrics: Of its result, for those who look at the alias.

    Returns:
        A move without number and time; None where the flow offered nothing.
    """
    if run.offer is None:
        return None
    models, basis = run.offer.models, run.offer.basis
    draft = AliasRecord(
        0,
        flow,
        CANDIDATE,
        {role: reference_of(model) for role, model in models.items()},
        {role: model.digest for role, model in models.items()},
        run.run_id,
        "",
        "the run ended well",
        {name: value for name, value in metrics.items() if math.isfinite(value)},
        basis={name: reference_of(one) for name, one in basis.items()},
        config=dict(run.offer.config),
    )
    path = run_folder(run.home, run.run_id) / OFFER
    write_atomic(path, sealed_json(asdict(draft)).encode())
    return draft


def kept_offer(home: Home, run_id: str) -> AliasRecord | None:
    """Return what a run offered, as `keep_offer`; None where it offered nothing.

    Raises:
        CorruptError: It is damaged, naming the file.
    """
    path = run_folder(home, run_id) / OFFER
    if not path.exists():
        return None
    try:
        return AliasRecord(**unsealed_json(path.read_bytes(), str(path)))
    except TypeError as error:
        raise CorruptError(f"{path} is no offer of a run: {error}") from error


def make_candidate(home: Home, spool: Spool | None, draft: AliasRecord) -> AliasRecord:
    """Make what a run offered its flow's candidate, here and in MLflow; twice is once."""
    now = current_alias(home, draft.flow, CANDIDATE)
    if now and now.run == draft.run and now.models == draft.models:
        return now
    record = move_alias(home, draft)
    log_alias(home, spool, record)
    return record
