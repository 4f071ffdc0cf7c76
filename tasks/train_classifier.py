"""Step 4: the oracle of real text – a classifier whose log-odds are the true reward."""

from __future__ import annotations

from tasks.settings.log import Log
from tasks.stages.artifact import Artifact
from tasks.stages.prefect_task import stage_task
from tasks.storage.workspace import Workspace
from tasks.training.updates.classifier_config import ClassifierConfig


@stage_task(version=2, resources="gpu")
def train_classifier(
    labelled: Artifact | None,
    held_out: Artifact | None,
    source: Artifact | None = None,
    *,
    config: ClassifierConfig,
    workspace: Workspace,
    log: Log,
) -> dict[str, float]:
    """Fit a logistic regression on hashed word n-grams, or fine-tune or take over a transformer.

    Args:
        labelled: Folder of texts with labels, as `prepare_texts` writes it; a finished classifier
            needs none.
        held_out: Folder of other texts with labels, which measure.
        source: The transformer's folder where `config` names one; None for one of the hub.
        config: Which classifier, its optimiser, and the accuracy that is asked for.
        workspace: `output/` receives `classifier.json` and weights, which `score_responses` and
            every other stage that scores takes as an oracle.
        log: Where metrics and notes go.

    Returns:
        `accuracy` and `log_loss` (nats) on the held-out texts, `train_accuracy`, counts, and the
        spread of the log-odds.

    Raises:
        ConfigError: A text has no label, or all have the same, or a model cannot be loaded.
        StageError: The accuracy on the held-out texts is below `config.least_accuracy`.
    """
    if config.source:
        from tasks.training.updates.fine_tuned_classifier import make_text_classifier

        folder, texts, others = (one.path if one else None for one in (source, labelled, held_out))
        return make_text_classifier(folder, texts, others, config, workspace, log)
    from tasks.training.updates.classifier import fit_classifier

    assert labelled and held_out, "the configuration was refused without them"
    return fit_classifier(labelled.path, held_out.path, config, workspace.output, log)
