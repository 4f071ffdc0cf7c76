"""Reward models: a language model's backbone with one number read at the last response token."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tasks.models.loading import load_weights, quiet_transformers
from tasks.models.padded_batches import GroupBatch
from tasks.models.policy import forward_arguments, per_slot
from tasks.models.randomness import seeded
from tasks.models.tokens.tokenizer import ensure_pad
from tasks.models.tqr.marker import refuse_as_reward_model
from tasks.settings.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_HEAD = "score"


def build_reward_model(
    backbone_path: str | Path,
    tokenizer: PreTrainedTokenizerBase,
    context: AbstractContextManager[Any] | None = None,
    *,
    dtype: str = "auto",
) -> PreTrainedModel:
    """Put a scalar head on a language model's backbone; at first every reward is 0.

    A pretrained backbone's states are large: a head that is drawn at random starts far from chance
    (a mean loss of 0.83 to 0.88 for SmolLM2, where not to know is log 2), and the training first
    has to undo it.

    Args:
        backbone_path: A policy's folder or a hub name.
        tokenizer: The reward model's own. It gets a pad distinct from EOS if it has none, and the
            embeddings grow with it.
        context: Entered around the loading.
        dtype: `auto` (as stored), `float32`, `bfloat16`…

    Returns:
        An `AutoModelForSequenceClassification` with one label, in eval mode.

    Raises:
        ConfigError: If the backbone cannot be loaded or takes no scalar head.
    """
    from transformers import AutoModelForSequenceClassification

    model = load_weights(
        AutoModelForSequenceClassification,
        backbone_path,
        context=context or nullcontext(),
        dtype=dtype,
        may_lack=_HEAD,
        num_labels=1,
    )
    _check_head(model, backbone_path)
    ensure_pad(tokenizer)
    head = getattr(model, _HEAD)
    with seeded("embedding of a pad"), quiet_transformers():
        if len(tokenizer) > model.get_input_embeddings().num_embeddings:
            model.resize_token_embeddings(len(tokenizer))
        for part in head.parameters():
            # What DeepSpeed has sharded keeps this rank's share beside an empty tensor.
            torch.nn.init.zeros_(getattr(part, "ds_tensor", part))
    model.config.pad_token_id = tokenizer.pad_token_id
    model.config.eos_token_id = tokenizer.eos_token_id
    return model.eval()


def load_reward_model(
    path: str | Path,
    context: AbstractContextManager[Any] | None = None,
    *,
    dtype: str = "auto",
) -> PreTrainedModel:
    """Load a reward model with its trained head, in eval mode.

    Arguments are those of `load_weights`.

    Raises:
        ConfigError: If it cannot be loaded, has no trained scalar head, or its pad is its EOS.
    """
    from transformers import AutoModelForSequenceClassification

    refuse_as_reward_model(path)
    model = load_weights(
        AutoModelForSequenceClassification,
        path,
        context=context,
        dtype=dtype,
    )
    _check_head(model, path)
    pad = model.config.pad_token_id
    if model.config.num_labels != 1 or pad is None or pad == model.config.eos_token_id:
        raise ConfigError(
            f"{str(path)!r} is no reward model of one score: it has {model.config.num_labels} "
            f"labels, pad_token_id {pad}, eos_token_id {model.config.eos_token_id}; one label and "
            "a pad distinct from EOS are needed"
        )
    return model


def rewards(model: PreTrainedModel, batch: GroupBatch) -> Tensor:
    """Score each response at its last token, as our lengths say, differentiable.

    The model's own forward pass looks for the last token that is not a pad. That this is the
    token our lengths name is asserted, so plain transformers gives exactly the same score.

    Args:
        model: A reward model on the batch's device.
        batch: Groups from `collate`, with the model's own pad id.

    Returns:
        Rewards, at least float32; 0 in empty slots. Shape (B, K).

    Raises:
        ValueError: If the batch was padded with another id than the model's.
    """
    columns = torch.arange(batch.input_ids.shape[1], device=batch.input_ids.device)
    ours = (columns * batch.response_mask).argmax(dim=-1)
    theirs = (columns * (batch.input_ids != model.config.pad_token_id)).argmax(dim=-1)
    if not torch.equal(ours, theirs):
        raise ValueError(
            "the last response token is not the last token that the reward model sees: collate "
            f"with its own pad id {model.config.pad_token_id}, distinct from EOS"
        )
    logits = model(**forward_arguments(batch), use_cache=False).logits[:, 0]
    return per_slot(logits.to(torch.promote_types(logits.dtype, torch.float32)), batch)


def _check_head(model: PreTrainedModel, path: str | Path) -> None:
    if not isinstance(getattr(model, _HEAD, None), torch.nn.Linear):
        raise ConfigError(
            f"{str(path)!r} ({type(model).__name__}) takes no scalar head at its last token: "
            "use a decoder such as Llama, Qwen2 or GPT-2"
        )
