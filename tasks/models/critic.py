"""Critics: value models that say, before each response token, what reward they expect."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tasks.models.groups.group_model import Batch, GroupModel
from tasks.models.reward_model import build_reward_model, load_reward_model
from tasks.models.tokens.tokenizer import load_tokenizer
from tasks.models.tqr.marker import tqr_config

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class GroupCritic(GroupModel):
    """A value model; it is a reward model that is read at every place instead of the last one."""

    def forward(self, batch: Batch) -> Tensor:
        """Return what is expected before each response token, response after response. (S,)."""
        states = self.states(batch)
        # In the head's own type, as a reward is.
        with torch.autocast(states.device.type, enabled=False):
            values = self.model.score(states.to(self.model.score.weight.dtype))[:, 0]
        return values.to(torch.promote_types(values.dtype, torch.float32))


def load_critic(
    policy: Path,
    scorer: Path,
    tokenizer: PreTrainedTokenizerBase,
    tokens: int,
    context: AbstractContextManager[Any] | None = None,
) -> tuple[PreTrainedModel, bool]:
    """Load the model that a critic starts from, with fp32 weights.

    A reward model that reads the policy's tokens knows most of what a critic has to learn; of a TQR
    it is the backbone that does. Else it is the policy's own backbone. A backbone gets a head that
    expects 0.

    Args:
        policy: Model folder.
        scorer: What scores the responses; not necessarily a model.
        tokenizer: The policy's own.
        tokens: The longest sequence it will read.
        context: As `load_weights` takes it.

    Returns:
        The model, and whether it comes from the scorer.

    Raises:
        ConfigError: A model cannot be loaded, or its architecture takes no scalar head.
    """
    # A classifier and an oracle have no transformers config.
    if (scorer / "config.json").is_file():
        own = load_tokenizer(scorer)
        if tqr_config(scorer) is None:
            model = load_reward_model(scorer, context, dtype="float32")
        else:
            model = build_reward_model(scorer, own, context, dtype="float32")
        if _reads(model, own, tokenizer, tokens):
            return model, True
    return build_reward_model(policy, load_tokenizer(policy), context, dtype="float32"), False


def _reads(
    model: PreTrainedModel,
    own: PreTrainedTokenizerBase,
    other: PreTrainedTokenizerBase,
    tokens: int,
) -> bool:
    """Whether a model knows another tokenizer's tokens under the same ids, and enough of them."""
    context = getattr(model.config, "max_position_embeddings", None)
    same = other.get_vocab().items() <= own.get_vocab().items()
    return same and own.eos_token_id == other.eos_token_id and (not context or context >= tokens)
