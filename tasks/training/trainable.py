"""The model of a training: loaded, made ready for groups, trained, saved as a plain folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from tasks.data.batches import BatchPlan
from tasks.models.groups.group_model import GroupModel
from tasks.models.loading import save_model
from tasks.models.precision import arithmetic_of, compute_device, keep_as_computed
from tasks.models.tqr.group_tqr import GroupTqr, output_shape
from tasks.models.tqr.heads import TqrHeads
from tasks.models.tqr.model_files import save_tqr
from tasks.settings.log import Log
from tasks.storage.workspace import Workspace
from tasks.training.config import TrainingConfig
from tasks.training.data.selection import Encoder
from tasks.training.distributed.opening import loading_context, whole_weights
from tasks.training.loop import train
from tasks.training.random_state import capture_streams, restore_streams
from tasks.training.task import TrainingTask
from tasks.training.tensor_files import trained_tensors
from tasks.training.weights.last_layers import freeze_below, head_is_tied
from tasks.training.weights.lora import FOLDER, Adapter

_HEADS = "heads."

Load = Callable[[AbstractContextManager[Any]], PreTrainedModel]
"""Loads a training's start, inside a context that may spread its weights over processes."""


class Trainable:
    """A model that is trained: whole, its last layers, or adapters in it."""

    def __init__(self, load: Load, config: TrainingConfig, seed: int) -> None:
        """Say what is trained, and the seed of adapters; nothing is loaded yet."""
        self._load, self._config, self._seed = load, config, seed
        self._loaded: tuple[PreTrainedModel, Adapter | None] | None = None

    def load(self, log: Log) -> PreTrainedModel:
        """Return the model, to be trained in place; the log is told what of it stays frozen.

        Raises:
            ConfigError: It cannot be loaded, or has not the layers that the config names.
        """
        self._loaded = self._make(loading_context(self._config))
        model = self._loaded[0]
        if self._config.trainable_layers is not None and head_is_tied(model):
            log.note(
                "the output head is tied to the input embeddings, which trainable_layers freezes: "
                "it is not trained"
            )
        return model

    @property
    def adapter(self) -> Adapter | None:
        """The adapters in the loaded model, if it has any."""
        return self._loaded[1] if self._loaded else None

    def train(
        self,
        model: GroupModel,
        task: TrainingTask,
        counts: dict[str, int],
        encoder: Encoder,
        workspace: Workspace,
        log: Log,
    ) -> dict[str, float]:
        """Train the loaded model and save it as the workspace's output.

        `model` is around what `load` returned; `counts` says how many groups each data set has.

        Returns:
            Means over the training's steps, and counts.

        Raises:
            StageError, TrainingInterrupted: As the loop's `train`.
        """
        config = self._config
        return train(
            model,
            plan=BatchPlan(
                counts, config.batch_size, config.num_train_epochs, self._seed, config.max_steps
            ),
            task=task,
            config=config,
            workspace=workspace,
            log=log,
            seed=self._seed,
            save=partial(
                self.save,
                encoder=encoder,
                heads=model.heads if isinstance(model, GroupTqr) else None,
            ),
        )

    def save(
        self,
        state: Mapping[str, Tensor] | None,
        folder: Path,
        encoder: Encoder,
        heads: TqrHeads | None = None,
    ) -> None:
        """Save what was trained as a folder that transformers loads, an adapter merged in.

        Args:
            state: The weights by name, at least the trained ones; None where the loaded model
                holds them. Where they lie on several processes or are few, the model is made anew.
            folder: Receives the model, and the adapter in `adapter/`.
            encoder: Of the model: its tokenizer and chat template are saved too.
            heads: What a TQR has beside its model; `state` has them, where it is given, by names
                that begin with `heads.`.
        """
        assert self._loaded is not None, "a model is loaded before it is saved"
        model, adapter = self._loaded
        beside: dict[str, Tensor] = {}
        if heads is not None and state is not None:
            beside = {
                name.removeprefix(_HEADS): part
                for name, part in state.items()
                if name.startswith(_HEADS)
            }
            state = {name: part for name, part in state.items() if not name.startswith(_HEADS)}
        if state is None and not all(p.requires_grad for p in model.parameters()):
            # What is frozen may be held in bfloat16, and merging would end the training.
            state = trained_tensors(model)
        if state is not None:
            model, adapter = self._filled(state)
        if adapter is not None:
            adapter.save(folder / FOLDER)
            model = adapter.merge()
        tokenizer, longest = encoder.tokenizer, encoder.limits.max_response_tokens
        if heads is None:
            save_model(model, tokenizer, folder, encoder.template, max_new_tokens=longest)
            return
        if beside:
            # Those in training lie on several processes.
            heads = TqrHeads(heads.config, *output_shape(model))
            heads.load_state_dict(beside)
        save_tqr(model, heads, tokenizer, folder, encoder.template, max_new_tokens=longest)

    def _make(self, context: AbstractContextManager[Any]) -> tuple[PreTrainedModel, Adapter | None]:
        model = self._load(context)
        lora, layers = self._config.lora, self._config.trainable_layers
        if layers is not None:
            freeze_below(model, layers)
        return model, Adapter(model, lora, self._seed) if lora else None

    def _filled(self, state: Mapping[str, Tensor]) -> tuple[PreTrainedModel, Adapter | None]:
        streams = capture_streams()
        model, adapter = self._make(nullcontext())
        restore_streams(streams)
        left = model.load_state_dict(state, strict=False)
        known = {name for name, p in model.named_parameters() if not p.requires_grad}
        assert not left.unexpected_keys, "the state is of this very model"
        assert set(left.missing_keys) <= known | set(model.all_tied_weights_keys), (
            "only what is frozen or tied may be missing"
        )
        model.tie_weights()
        return model, adapter


def make_ready(
    model: GroupModel, config: TrainingConfig, tokens: Sequence[int], log: Log
) -> dict[str, float]:
    """Put a model onto the training's device, and see which way it takes groups.

    Args:
        model: On the CPU.
        config: Says in which arithmetic it will compute, and how.
        tokens: Of a text such as the model knows: `ordinary_tokens` of its tokenizer.
        log: Is told where prompts cannot be shared.

    Returns:
        ``shared_prompts``: 1 where a prompt is computed once for its responses, else 0.
    """
    model.to(compute_device())
    if config.dropout > 0:
        # A prompt's one draw would be the same draw for all its responses.
        model.take_plain_path(f"training.dropout is {config.dropout}: prompts are not shared")
    else:
        with whole_weights(model), arithmetic_of(config.precision):
            model.check(tokens)
    if model.reason:
        log.note(f"{model.reason}; each is computed with every response, which is slower")
    keep_as_computed(model.model, config.precision)
    if config.gradient_checkpointing:
        # The reentrant kind would lose gradients where no input of a layer needs one.
        model.model.activation_checkpointing_enable({"use_reentrant": False})
        # For the other kind it gives the embeddings' output a gradient: the backward pass would go
        # through layers that are frozen.
        model.model.disable_input_require_grads()
    if config.compile:
        # The head is read as a function of its own, which changes with every batch.
        model.backbone.compile(dynamic=True)
    return {"shared_prompts": float(model.shared)}
