"""What a report says of the data it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.settings.errors import ConfigError, did_you_mean
from tasks.storage.files import read_json


def data_sentence(examination: Path) -> str:
    """Return the sentence of `examine_data`: what was read, left out and cut."""
    return str(read_json(examination / "examination.json")["sentence"])


def scored_evaluation(
    name: str, evaluations: Mapping[str, Mapping[str, Any]], judge: str
) -> Mapping[str, Any]:
    """Return the evaluation of one of a report's entries, which a judge must have scored.

    Raises:
        ConfigError: There is none, or that judge gave it no scores.
    """
    if name not in evaluations:
        known = did_you_mean(name, evaluations)
        raise ConfigError(f"the report's entry {name!r} has no evaluation{known}")
    found = evaluations[name]
    if judge not in found["scores"]:
        known = did_you_mean(judge, found["scores"])
        raise ConfigError(f"the evaluation {name!r} has no scores of {judge!r}{known}")
    return found


def asked(evaluation: Mapping[str, Any]) -> str:
    """Return how many prompts a policy answered, each counted once, and how often each."""
    answers = {
        len(row) for one in evaluation["per_prompt"].values() for row in one["scores"].values()
    }
    often = " or ".join(map(str, sorted(answers)))
    return f"{evaluation['queries']:,} distinct, {often} answers each"
