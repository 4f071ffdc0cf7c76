"""Step 1, for plain texts: a prompt is the first tokens of a text; the rest continues it."""

from __future__ import annotations

from tasks.models.tokens.text_prompts import BeginningsConfig, cut_beginnings
from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace


@stage_task(version=2, resources="cpu")
def extract_prompts(
    policy: Artifact,
    texts: Artifact,
    test_texts: Artifact | None = None,
    *,
    config: BeginningsConfig,
    workspace: Workspace,
    log: Log,
) -> dict[str, float]:
    """Cut prompts off texts, each prompt in one part only.

    Args:
        policy: Model folder whose tokenizer counts.
        texts: Folder of groups whose one response is a text, as `prepare_texts` writes `prompts`.
        test_texts: The same for the test prompts; None cuts these off `texts` too.
        config: Tokens per prompt, prompts per part.
        workspace: `output/` receives `train`, `dev` and `test`: K = 1 groups whose response is how
            the writer went on.
        log: Where notes go.

    Returns:
        `train`, `dev` and `test`, and under `dropped/…` the texts that gave no prompt, all counts.

    Raises:
        ConfigError: There are too few texts, or the tokenizer cannot be loaded.
    """
    tests = test_texts.path if test_texts else None
    return cut_beginnings(policy.path, texts.path, config, workspace.output, log, tests)
