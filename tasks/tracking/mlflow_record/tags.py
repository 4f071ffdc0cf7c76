"""Our names in MLflow: by these, not by MLflow's own ids, everything is found again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

RUN_TAG = "sparring.run"
"""Tag of every MLflow run: our id of the flow run."""
STAGE_TAG = "sparring.stage"
"""Tag of a stage's MLflow run, and of the model it made: the stage's key; empty at a flow's run."""
STATE_TAG = "sparring.state"
"""Tag of a flow's or a stage's MLflow run: our own word for how it ended."""
STOPPED_TAG = "sparring.stopped"
"""Tag of a flow's MLflow run that was told to stop: at which stage, and the step that is saved."""
FLOW_TAG = "sparring.flow"
"""Tag of a flow's MLflow run: the flow's name."""
SKIPPED_TAG = "sparring.done_before"
"""Tag of a flow's MLflow run: how many of its stages had been done before."""
HEADLINE_TAG = "sparring.headline"
"""Tag of a flow's MLflow run: what its report says first."""
RESULT_TAG = "sparring.result."
"""Prefix at a flow's run: the MLflow page of the model that it offers, by kind."""
INPUT_TAG = "sparring.input."
"""Prefix: digest of the input in a role."""
FROM_TAG = "sparring.from."
"""Prefix: the MLflow page of the run that made the input in a role."""
USER_TAG = "sparring.used_by."
"""Prefix: the MLflow page of a run that used the output."""
OUTPUT_TAG = "sparring.output.output"
"""Digest of the output."""
MODEL_TAG = "sparring.output.model"
"""The MLflow page of the model that came out."""
NOTE_TAG = "mlflow.note.content"
"""What MLflow shows as a run's description."""
OUTPUT = "output"
"""Where the files that a stage left lie among a run's artifacts."""

_PAGE = re.compile(r"(.*) \((#/experiments/[^)]+)\)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of MLflow with its title, as one tag can hold it."""

    title: str
    """For people."""
    address: str
    """From the # on; the same whatever the server is called."""

    def __str__(self) -> str:
        return f"{self.title} ({self.address})"

    @property
    def run(self) -> str:
        """MLflow's id of the run whose page it is."""
        return self.address.partition("?")[0].rpartition("/")[2]

    @property
    def markdown(self) -> str:
        """Write it as a link."""
        title = re.sub(r"([\\\[\]`*_<>|])", r"\\\1", self.title)
        return f"[{title}]({self.address})"

    @classmethod
    def read(cls, text: str) -> Page | None:
        """Read a tag's value; None when it was not written by `str` of a page."""
        matched = _PAGE.fullmatch(text)
        return cls(*matched.groups()) if matched else None


def where(tags: Mapping[str, str]) -> str:
    """Return the search for what has exactly these tags."""
    return " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
