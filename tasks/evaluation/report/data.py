"""What a report says of the data it was made from."""

from __future__ import annotations

from pathlib import Path

from tasks.storage.files import read_json


def data_sentence(examination: Path) -> str:
    """Return the sentence of `examine_data`: what was read, left out and cut."""
    return str(read_json(examination / "examination.json")["sentence"])
