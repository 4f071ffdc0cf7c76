"""What a report says of the data it was made from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tasks.evaluation.report.document import Example
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


def compared_examples(
    evaluations: Mapping[str, Mapping[str, Any]], judges: Collection[str], most: int
) -> list[Example]:
    """Return prompts with the outputs of several policies side by side and their scores.

    Args:
        evaluations: By what the report calls each policy; the first one's prompts are shown.
        judges: Whose scores are shown.
        most: How many prompts.
    """
    texts = {
        name: {one["id"]: one["response"] for one in found["examples"]}
        for name, found in evaluations.items()
    }
    first = next(iter(evaluations.values()))["examples"][:most]
    return [_example(one, texts, evaluations, judges) for one in first]


def _example(
    shown: Mapping[str, Any],
    texts: Mapping[str, Mapping[str, str]],
    evaluations: Mapping[str, Mapping[str, Any]],
    judges: Collection[str],
) -> Example:
    outputs = {name: found[shown["id"]] for name, found in texts.items() if shown["id"] in found}
    rows = {name: evaluations[name]["per_prompt"].get(shown["id"]) for name in outputs}
    scores = {
        # The response that is kept as an example is the first one.
        name: {judge: row["scores"][judge][0] for judge in judges if row["scores"].get(judge)}
        for name, row in rows.items()
        if row
    }
    turns = [(turn["role"], turn["content"]) for turn in shown.get("turns", ())]
    return Example(shown["prompt"], outputs, turns, scores)


def asked(evaluation: Mapping[str, Any]) -> str:
    """Return how many prompts a policy answered, each counted once, and how often each."""
    answers = {
        len(row) for one in evaluation["per_prompt"].values() for row in one["scores"].values()
    }
    often = " or ".join(map(str, sorted(answers)))
    return f"{evaluation['queries']:,} distinct, {often} answers each"
