"""Step 3: D_APO – each gold response against the policy's samples of the same query."""

from __future__ import annotations

from tasks.data.files import read_groups, write_groups
from tasks.data.gold_pairs import pair_gold_with_samples
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace


@stage_task(version=1, resources="cpu")
def pair_with_gold(gold: Artifact, samples: Artifact, *, workspace: Workspace) -> dict[str, float]:
    """Put gold in column 0 and the S samples behind it.

    Args:
        gold: Folder of K = 1 groups.
        samples: Folder of K = S groups over the same prompts.
        workspace: `output/` receives K = 1 + S groups.

    Returns:
        `groups` and `samples` (counts), and `identical_share`: samples that equal their gold and
        are left out, as a pair of equal responses teaches nothing.
    """
    pairs, counts = pair_gold_with_samples(read_groups(gold.path), read_groups(samples.path))
    write_groups(workspace.output, pairs)
    return counts()
