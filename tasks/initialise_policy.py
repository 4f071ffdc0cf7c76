"""Step 1: the base policy – a model of the user's, or a small one with its own tokenizer."""

from __future__ import annotations

from itertools import chain

from tasks.data.files import read_groups
from tasks.models.base_policy import PolicyModelConfig, corpus_texts, write_base_policy
from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace


@stage_task(version=2, resources="cpu", produces="policy")
def initialise_policy(
    corpora: list[Artifact],
    model: Artifact | None,
    *,
    config: PolicyModelConfig,
    seed: int,
    workspace: Workspace,
    log: Log,
) -> dict[str, float]:
    """Write the policy that training starts from, with its tokenizer and chat template.

    Args:
        corpora: Folders of groups whose texts train the tokenizer of a built architecture.
        model: The user's model folder or GGUF file where `config` names one.
        config: Which model, and which chat template.
        seed: Of the initial weights.
        workspace: `output/` becomes a model folder that plain transformers loads.
        log: Where notes go.

    Returns:
        `parameters` and `vocabulary`, both counts.

    Raises:
        ConfigError: The model cannot be loaded.
    """
    groups = chain.from_iterable(read_groups(corpus.path) for corpus in corpora)
    folder = model.path if model else None
    return write_base_policy(config, folder, corpus_texts(groups), workspace.output, seed, log)
