"""What MLflow's loader of a registered model asks of the installed Sparring.

The loader travels with the model's description and knows this module by the name in `sparring.json`
alone, so what is here serves models that were registered before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.settings.errors import StageError
from tasks.stages.artifact import Artifact, ArtifactLostError
from tasks.stages.manifest import artifact_folder, manifest_path
from tasks.stages.remote.transfer import fetch_artifact
from tasks.storage.home import Home, current_home
from tasks.tracking.remote.opening import open_remote

_ALL = 1 << 20
"""Tokens that no text has: a registered model reads all of it."""


def stored_folder(pointer: Mapping[str, Any]) -> Path:
    """Return the folder of a model's weights, verified; what only the remote has is fetched first.

    It is looked for in the current home, then in the one that it was made in.

    Args:
        pointer: As `model_pointer` made it.

    Raises:
        StageError: It is damaged or gone, here and on the remote.
        StorageError: The remote does not answer.
    """
    stage, key, here = pointer["stage"], pointer["key"], current_home()
    homes = (here, Home(Path(pointer["home"])))
    home = next((one for one in homes if manifest_path(one, stage, key).is_file()), here)
    remote = open_remote() or open_remote(pointer["remote"])
    model = Artifact(pointer["digest"], artifact_folder(home, stage, key), stage, key)
    try:
        return fetch_artifact(model, home.ensure() if remote else home, remote)
    except ArtifactLostError as error:
        raise StageError(
            f"its weights were moved or removed, {error}: set SPARRING_HOME to the state folder "
            "that has them, or SPARRING_REMOTE to the remote, or run its flow again"
        ) from error


def tqr_scores(folder: Path) -> Callable[[Sequence[tuple[Any, str]]], list[float]]:
    """Return what scores responses by the TQR in a folder, given the turns before each."""
    from tasks.data.groups import Group, Message
    from tasks.models.scoring.config import ScoringConfig
    from tasks.models.scoring.tqr_scorer import TqrScorer
    from tasks.models.tokens.encoding import Limits

    limits = Limits(max_prompt_tokens=_ALL, max_response_tokens=_ALL)
    scorer = TqrScorer.load(folder, ScoringConfig(limits=limits, precision="fp32"))

    def scores(pairs: Sequence[tuple[Any, str]]) -> list[float]:
        groups = [
            Group(tuple(Message(turn["role"], turn["content"]) for turn in turns), (response,))
            for turns, response in pairs
        ]
        return [row[0] for row in scorer.score(groups)]

    return scores
