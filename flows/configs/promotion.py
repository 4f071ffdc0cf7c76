"""Configuration of the flow `promotion`: which candidate, and what the gate asks of it."""

from __future__ import annotations

from tasks.evaluation.config import GateConfig
from tasks.settings.base import FrozenConfig
from tasks.stages.runs.states import project_of


class PromotionConfig(FrozenConfig):
    """One decision about a candidate."""

    flow: str
    """Whose models; with its project, `PROJECT.FLOW`, if it has one."""

    run: str
    """The run that made the candidate."""

    candidate: int
    """Number of the alias record that names it; 0 for what the run offered and nobody named."""

    champion: int = 0
    """Number of the champion's record that it is compared with; 0 where there is none."""

    gate: GateConfig
    """What is asked of it."""

    dry_run: bool = False
    """Gather the evidence and leave the champion as it is."""

    @property
    def project(self) -> str:
        """The project of the flow whose models are weighed; empty for none."""
        return project_of(self.flow)[0]
