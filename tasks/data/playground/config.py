"""Settings of the playground: where it stands, its seed and its sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from tasks.settings.base import NOT_IN_KEY, FrozenConfig, Seed


class PlaygroundConfig(FrozenConfig):
    """What to generate. The same settings always give the same bytes."""

    folder: Annotated[Path, NOT_IN_KEY] = Path("data/playground")
    """Folder of the generated files; made when missing. Not part of the content."""
    seed: Seed = 0
    """Seed of the world's facts and of everything said in it."""
    entities: int = Field(default=8, ge=2, le=40)
    """Creatures of the world; each has four facts to get right or wrong."""
    preferences: int = Field(default=2400, ge=1)
    """Human preference pairs for training."""
    test: int = Field(default=300, ge=1)
    """Human preference pairs on prompts that no other file contains."""
    demonstrations: int = Field(default=2500, ge=1)
    """Human answers of mixed quality, on prompts of the training side."""
    extra: int = Field(default=500, ge=0)
    """Preference pairs of other annotators, on training-side prompts of their own."""
    temperature: float = Field(default=0.8, gt=0)
    """Temperature of the annotators' Bradley-Terry choice, in points of oracle reward."""
    extra_temperature: float = Field(default=1.6, gt=0)
    """The same for the other annotators, who look less carefully."""

    def settings(self) -> dict[str, int | float]:
        """Everything that decides the content: all settings but the folder."""
        return self.model_dump(exclude={"folder"})
