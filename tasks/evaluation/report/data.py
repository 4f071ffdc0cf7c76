"""What a report says of the data it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.storage.files import read_json


def data_sentence(examination: Path) -> str:
    """Return the sentence of `examine_data`: what was read, left out and cut."""
    return str(read_json(examination / "examination.json")["sentence"])


def asked(evaluation: Mapping[str, Any]) -> str:
    """Return how many prompts a policy answered, each counted once, and how often each."""
    answers = {
        len(row) for one in evaluation["per_prompt"].values() for row in one["scores"].values()
    }
    often = " or ".join(map(str, sorted(answers)))
    return f"{evaluation['queries']:,} distinct, {often} answers each"
