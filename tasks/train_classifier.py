"""Step 4: the oracle of real text – a classifier whose log-odds are the true reward."""

from __future__ import annotations

from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace
from tasks.training.updates.classifier_config import ClassifierConfig


@stage_task(version=1, resources="cpu")
def train_classifier(
    labelled: Artifact,
    held_out: Artifact,
    *,
    config: ClassifierConfig,
    workspace: Workspace,
    log: Log,
) -> dict[str, float]:
    """Fit a logistic regression on hashed word n-grams.

    Args:
        labelled: Folder of texts with labels, as `prepare_texts` writes it.
        held_out: Folder of other texts with labels, which measure.
        config: N-grams, features, regularisation, and the accuracy that is asked for.
        workspace: `output/` receives `classifier.json` and `weights.safetensors`, which
            `score_responses` and every other stage that scores takes as an oracle.
        log: Where notes go.

    Returns:
        `accuracy` and `log_loss` (nats) on the held-out texts, `train_accuracy`, counts, and the
        spread of the log-odds.

    Raises:
        ConfigError: A text has no label, or all have the same.
        StageError: The accuracy on the held-out texts is below `config.least_accuracy`.
    """
    from tasks.training.updates.classifier import fit_classifier

    return fit_classifier(labelled.path, held_out.path, config, workspace.output, log)
