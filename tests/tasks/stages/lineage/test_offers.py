"""What a run offers, and how it becomes the candidate."""

from __future__ import annotations

import pytest

from tasks.stages.artifact import Artifact
from tasks.stages.lineage.offers import keep_offer, kept_offer, make_candidate
from tasks.stages.runs.aliases import alias_history
from tasks.stages.runs.context import Offer, RunContext
from tasks.stages.runs.run_store import run_folder
from tasks.storage.errors import CorruptError
from tasks.storage.home import Home


def offering(home: Home) -> RunContext:
    """Return a run that offers a policy."""
    model = Artifact("d.dir", home.store, "update_policy", "a" * 64)
    run_folder(home, "apo-1").mkdir(parents=True)
    run = RunContext(home, "apo-1")
    run.offer = Offer({"policy": model}, {"data": model}, {"seed": 0})
    return run


def test_what_is_offered_is_kept_and_becomes_the_candidate_once(home: Home) -> None:
    draft = keep_offer(offering(home), "apo", {"score": 1.0, "bad": float("nan")})
    assert draft and draft == kept_offer(home, "apo-1") and draft.evidence == {"score": 1.0}
    assert not alias_history(home, "apo", "candidate"), "an offer moves nothing"
    for _ in range(2):
        record = make_candidate(home, None, draft)
    assert record.number == 1 and record.models == {"policy": "update_policy/" + "a" * 64}
    assert len(alias_history(home, "apo", "candidate")) == 1


def test_a_run_without_an_offer_has_none(home: Home) -> None:
    assert keep_offer(RunContext(home, "apo-1"), "apo", {}) is None
    assert kept_offer(home, "apo-1") is None


def test_a_damaged_offer_is_named(home: Home) -> None:
    keep_offer(offering(home), "apo", {})
    path = run_folder(home, "apo-1") / "offer.json"
    path.write_text(path.read_text().replace("update_policy", "update_polici"))
    with pytest.raises(CorruptError, match="offer"):
        kept_offer(home, "apo-1")
