"""People who are asked: where, and how many of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tasks.settings.base import NOT_IN_KEY, FrozenConfig


class PeopleConfig(FrozenConfig):
    """People who answer questions, each on their own."""

    folder: Annotated[str, NOT_IN_KEY] = "people"
    """Folder that gets a folder for each set of questions, with the questions as JSONL and CSV, and
    `answers/`, where people put what they hand in."""
    quorum: int = Field(default=1, ge=1)
    """Different people who have to answer a question. Default 1."""
    enough: float = Field(default=1.0, gt=0, le=1)
    """Share of the questions that need their quorum before the run goes on. Default: all."""
    instructions: str = ""
    """What people are told beside each question. Default: a sentence of our own."""
