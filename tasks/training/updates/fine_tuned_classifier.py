"""An oracle that is a transformer: fine-tuned on labelled texts, or a finished one taken over."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import PreTrainedModel

from tasks.data.files import read_groups
from tasks.data.groups import Group
from tasks.models.base_policy import hub_name
from tasks.models.groups.group_model import Batch
from tasks.models.loading import save_model
from tasks.models.prompt_sharing_check import ordinary_tokens
from tasks.models.scoring.text_classifier import (
    GroupClassifier,
    load_text_classifier,
    reading_of,
    save_text_classifier,
    start_text_classifier,
)
from tasks.models.scoring.text_scorer import TextClassifierScorer, text_ids
from tasks.models.tokens.encoding import EncodedGroup, Limits
from tasks.models.tokens.tokenizer import ensure_pad, load_tokenizer
from tasks.settings.log import Log
from tasks.storage.workspace import Workspace
from tasks.training.data.encoded import EncodedFolder
from tasks.training.data.micro_batches import read_micro_batch
from tasks.training.data.selection import Encoder, keep_groups, refuse_large_groups
from tasks.training.distributed.job import TrainingJob
from tasks.training.distributed.launch import launch
from tasks.training.task import MicroBatch, TrainingTask
from tasks.training.trainable import Trainable, make_ready
from tasks.training.updates.classifier import held_out_metrics, read_labelled
from tasks.training.updates.classifier_config import ClassifierConfig

TEXTS = "texts"


class TextEncoder(Encoder):
    """How a classifier reads whole texts: as its tokenizer writes them, the end cut off."""

    @classmethod
    def reading(cls, source: str | Path, config: ClassifierConfig) -> TextEncoder:
        """Return the encoder of a model folder, or of a hub model where `source` is a name."""
        hub, revision = hub_name(str(source))
        tokenizer = load_tokenizer(hub or source, revision=revision)
        ensure_pad(tokenizer)
        most = min(config.max_tokens, tokenizer.model_max_length)
        return cls(tokenizer, None, Limits(max_response_tokens=most))

    def encode(self, group: Group) -> EncodedGroup:
        """Return the ids of a text; its first stands for the prompt, which no group may lack."""
        ids, long = text_ids(self.tokenizer, group.responses[0], self.limits.max_response_tokens)
        return EncodedGroup(ids[:1], [ids[1:]], False, [long])


@dataclass
class TextTask(TrainingTask):
    """Labelled texts, told apart by the log-odds of the good label."""

    texts: EncodedFolder
    """One response each, whose score is its label, 1 or 0."""
    layout: Callable[[Sequence[EncodedGroup]], Batch]
    """Puts texts into the layout that the model takes."""

    def sizes(self, name: str) -> Sequence[int]:
        """Return how many tokens each text takes of a forward pass."""
        return self.texts.sizes(shared=False)

    def micro_batch(self, name: str, rows: Sequence[int]) -> MicroBatch:
        """Return some texts with their labels."""
        return read_micro_batch(name, self.texts, rows, self.layout)

    def loss(
        self, model: nn.Module, batch: MicroBatch, counts: dict[str, int]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return a micro-batch's share of the step's mean log loss, nats."""
        assert batch.scores is not None, "micro_batch fills it in"
        values, labels = model(batch.groups)[:, 0], batch.scores[:, 0]
        losses = binary_cross_entropy_with_logits(values, labels, reduction="none")
        right = float(((values > 0) == (labels == 1)).sum())
        return losses.sum() / counts[TEXTS], {"train_accuracy": right / counts[TEXTS]}


def make_text_classifier(
    source: Path | None,
    labelled: Path | None,
    held_out: Path | None,
    config: ClassifierConfig,
    workspace: Workspace,
    log: Log,
) -> dict[str, float]:
    """Fine-tune a transformer on labelled texts or take a finished one, measure it, and save it.

    Args:
        source: The model's folder; None where it comes from the hub.
        labelled: Folder of texts with labels, read where `config.base` is fine-tuned.
        held_out: Folder of other texts with labels; None measures nothing.
        config: Which model, how it reads, the optimiser, and the accuracy that is asked for.
        workspace: `output/` receives the model's folder with `classifier.json`.
        log: Where metrics and notes go.

    Returns:
        What the training logged, and how well held-out texts are told apart.

    Raises:
        ConfigError: The model cannot be loaded or has no such label, or a text has none.
        StageError: The accuracy on the held-out texts is below `config.least_accuracy`.
        TrainingInterrupted: Asked to stop; the state is saved.
    """
    named = str(source or config.source)
    metrics: dict[str, float] = {}
    if config.base is None:
        _take_over(named, workspace.output)
    else:
        assert labelled is not None, "the configuration was refused without labelled texts"
        metrics = _fine_tune(named, labelled, config, workspace, log)
    model, tokenizer = load_text_classifier(workspace.output), load_tokenizer(workspace.output)
    reading = reading_of(
        model, tokenizer, label=config.label, max_tokens=config.max_tokens, reads=config.reads
    )
    save_text_classifier(reading, workspace.output)
    if held_out is not None:
        scorer = TextClassifierScorer(
            model,
            tokenizer,
            reading,
            batch_tokens=config.training.micro_batch_tokens,
            precision=config.training.precision,
        )
        test = read_labelled(held_out)
        metrics |= held_out_metrics(scorer.log_odds(test.texts), test, config, log)
        scorer.note_cut(log)
    return metrics


def fit(job: TrainingJob, workspace: Workspace, log: Log) -> dict[str, float]:
    """Fine-tune the classifier of a job on the texts that were kept for it, and save it.

    Raises:
        ConfigError: The model cannot be loaded.
        StageError, TrainingInterrupted: As `make_text_classifier`.
    """
    config = ClassifierConfig.model_validate(job.config)
    assert config.base is not None, "a finished classifier is no job"
    hub, revision = hub_name(config.base)
    encoder = TextEncoder.reading(config.base, config)

    def load(context: AbstractContextManager[Any]) -> PreTrainedModel:
        name = hub or config.base or ""
        return start_text_classifier(name, encoder.tokenizer, context, revision=revision)

    trainable = Trainable(load, config.training, job.seed)
    model = GroupClassifier(trainable.load(log), label=1)
    metrics = make_ready(model, config.training, ordinary_tokens(encoder.tokenizer), log)
    texts = EncodedFolder(job.inputs[TEXTS])
    task = TextTask(texts, lambda groups: model.batch(groups, encoder.pad_id))
    counts = {TEXTS: len(texts)}
    return metrics | trainable.train(model, task, counts, encoder, workspace, log)


def _fine_tune(
    named: str, labelled: Path, config: ClassifierConfig, workspace: Workspace, log: Log
) -> dict[str, float]:
    read_labelled(labelled)  # refuses texts without labels, or of one label
    encoder = TextEncoder.reading(named, config)
    kept, metrics = keep_groups(workspace, TEXTS, _chosen(labelled, config.limit), encoder)
    refuse_large_groups(kept, config.training.micro_batch_tokens)
    job = TrainingJob(
        kind="classifier",
        model=Path(named),
        config=config.model_copy(update={"base": named}).model_dump(mode="json"),
        inputs={TEXTS: kept.path},
        seed=config.seed,
    )
    return metrics | launch(job, fit, workspace, log)


def _chosen(labelled: Path, limit: int | None) -> Iterator[Group]:
    """Yield the texts by the hash of their id, as the logistic regression takes them."""
    groups = [group for group in read_groups(labelled) if group.responses[0].strip()]
    groups.sort(key=lambda group: hashlib.sha256(group.id.encode()).digest())
    yield from groups[:limit]


def _take_over(named: str, output: Path) -> None:
    hub, revision = hub_name(named)
    model = load_text_classifier(hub or named, nullcontext(), revision=revision)
    tokenizer = load_tokenizer(hub or named, revision=revision)
    if model.config.pad_token_id is None:
        # Rows are padded behind their end, where any id is passed over.
        pad = tokenizer.pad_token_id
        model.config.pad_token_id = tokenizer.eos_token_id if pad is None else pad
    save_model(model, tokenizer, output)
