"""AfD's pairing: preference pairs of demonstrations and samples, which nobody had to label."""

from __future__ import annotations

from tasks.data import demonstration_pairs
from tasks.data.demonstration_pairs import AfdConfig
from tasks.data.files import read_groups, write_groups
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace


@stage_task(version=1, resources="cpu")
def pair_demonstrations(
    chosen: Artifact, rejected: Artifact, *, config: AfdConfig, workspace: Workspace
) -> dict[str, float]:
    """Put the better side of a pairing in column 0 and the worse one behind it.

    Args:
        chosen: Folder of K = 1 groups: demonstrations, or one sample for each of them.
        rejected: The other side, over the same prompts in the same order.
        config: The pairing, which says whose the sides are.
        workspace: `output/` receives pairs with the scores (1, 0).

    Returns:
        `groups` (a count), and of all queries `identical_share` and `empty_share`, whose answers
        are equal, or whose better one has no text: they are left out.
    """
    sides = (read_groups(side.path) for side in (chosen, rejected))
    pairs, counts = demonstration_pairs.pair_demonstrations(config.pairing, *sides)
    write_groups(workspace.output, pairs)
    return counts()
