"""A policy or reward model that reads groups: each prompt once, only the scored logits.

Whether an architecture can is found out, not listed: `check` compares the shared path with the
plain one on a probe batch, and where they differ the plain path is used from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from tasks.models.groups.attention import GROUPED, register
from tasks.models.groups.attention_masks import block_mask, dense_mask
from tasks.models.groups.encoder_decoder import TwoSidedBatch, arrange, plain_logps, scored_states
from tasks.models.groups.packing import PackedGroups, pack
from tasks.models.output_head import head_logps
from tasks.models.padded_batches import GroupBatch, collate
from tasks.models.policy import forward_arguments, sequence_logps, token_logps_of_rows
from tasks.models.prompt_sharing_check import (
    Numbers,
    disagreement,
    dropouts,
    longest_sequence,
    probe_groups,
)
from tasks.models.reward_model import rewards
from tasks.models.tokens.encoding import EncodedGroup
from tasks.settings.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Attention = Literal["grouped", "flex", "dense"]
Batch = PackedGroups | TwoSidedBatch | GroupBatch


class GroupModel(nn.Module):
    """A transformers model that is fed groups. B groups, K responses."""

    def __init__(self, model: PreTrainedModel) -> None:
        """Wrap a model; it starts on the shared path, which `check` has to confirm."""
        super().__init__()
        register()
        self.model = model
        self.shared = True
        """Whether prompts are shared."""
        self.reason: str | None = None
        """Why they are not, in one sentence."""
        self._own_attention: str = model.config._attn_implementation
        self._use(next(iter(self._ways()), None))

    def forward(self, batch: Batch) -> Tensor | tuple[Any, ...]:
        """Return what this kind of model says of groups: one tensor, or several by name."""
        raise NotImplementedError

    def batch(self, groups: Sequence[EncodedGroup], pad_id: int) -> Batch:
        """Return the groups in the layout that this model takes, on the CPU.

        Args:
            groups: At least one response among them; none is empty.
            pad_id: Written where a padded row has no token.

        Raises:
            ConfigError: An id is beyond the model's vocabulary.
        """
        longest = max(
            len(group.prompt_ids) + max(map(len, group.responses_ids), default=0)
            for group in groups
        )
        if self.model.config.is_encoder_decoder:
            batch: Batch = arrange(groups, self.model, pad_id)
        elif self.shared and longest <= self._reach():
            batch = pack(groups)
        else:
            batch = collate(groups, pad_id)
        self._check_ids(batch)
        return batch

    def check(self, tokens: Sequence[int]) -> None:
        """Compare the shared path with the plain one; use the plain one if they differ.

        Sets `shared` and `reason`. Costs a few small forward passes; weights stay as they are. Call
        it once the model is where it will compute.

        Args:
            tokens: Of a text such as the model knows: `ordinary_tokens` of its tokenizer.
        """
        name, config = type(self.model).__name__, self.model.config
        self._use(None)
        # Heads on a summary or for classes are none of ours.
        unused = ("summary", "classifier")
        dropped = [name for name in dropouts(config) if not name.startswith(unused)]
        if dropped:
            # A prompt's one draw would be the same draw for all its responses.
            self.reason = f"{name} does not share prompts while its {dropped[0]} is above 0"
            return
        groups = probe_groups(tokens)
        failures = []
        for way in self._ways():
            try:
                off = disagreement(
                    self.model, partial(self._try, None, groups), partial(self._try, way, groups)
                )
            except Exception as error:  # whatever an unknown architecture raises means "cannot"
                failures.append(f"{way}: {type(error).__name__}: {error}")
                continue
            if off is None:
                self._use(way)
                self.reason = None
                return
            failures.append(f"{way}: differs by {off:.2g} of the size")
        self._use(None)
        self.reason = f"{name} does not share prompts ({'; '.join(failures)})"

    def take_plain_path(self, reason: str) -> None:
        """Compute each prompt with each of its responses from now on; `reason` says why."""
        self._use(None)
        self.reason = reason

    @contextmanager
    def with_own_attention(self) -> Iterator[PreTrainedModel]:
        """Give out the model as it was loaded, for the sampler, while the block runs."""
        way = self._way
        self._use(None)
        try:
            yield self.model
        finally:
            self._use(way)

    def hidden(self, row: PackedGroups) -> Tensor:
        """Return the last hidden state of every token of a row. Shape (N, H)."""
        arguments: dict[str, object] = {}
        if self._way == "grouped":
            # A 4-D mask is taken as it is: none is built for the whole row.
            mask: object = torch.zeros(1, 1, 1, 1, device=row.input_ids.device)
            arguments["groups"] = row.edges
        elif self._way == "flex":
            mask = block_mask(row)
        else:
            mask = dense_mask(row, self.model.dtype)
        output = self.backbone(
            input_ids=row.input_ids,
            position_ids=row.position_ids,
            attention_mask=mask,
            use_cache=False,
            **arguments,
        )
        return output.last_hidden_state.squeeze(0)

    def states(self, batch: Batch) -> Tensor:
        """Return the last hidden state that predicts each response token. Shape (S, H)."""
        if isinstance(batch, TwoSidedBatch):
            return scored_states(self.model, batch, self._way)
        if isinstance(batch, PackedGroups):
            return self.hidden(batch)[batch.scored]
        output = self.backbone(**forward_arguments(batch), use_cache=False)
        return output.last_hidden_state[batch.response_mask.roll(-1, dims=1)]

    def numbers(self, batch: Batch) -> Numbers:
        """Return what `check` compares two ways by: hidden states, and what is made of them.

        Both: under small weights the states show what the others hide, and only the others show
        what the model does to its logits.
        """
        return self.states(batch), self(batch)

    @property
    def backbone(self) -> nn.Module:
        """The model without its head."""
        backbone: nn.Module = getattr(self.model, self.model.base_model_prefix)
        return backbone

    def _ways(self) -> list[Attention]:
        on_gpu = next(self.model.parameters()).device.type == "cuda"
        if on_gpu and not self.model.config.is_encoder_decoder:
            return ["flex", "dense", "grouped"]
        return ["grouped", "dense"]

    def _use(self, way: Attention | None) -> None:
        self._way, self.shared = way, way is not None
        name = {"grouped": GROUPED, "flex": "flex_attention"}.get(way or "", self._own_attention)
        self.model.set_attn_implementation(name)

    def _reach(self) -> float:
        return longest_sequence(self.model.config, windows=self._way != "grouped")

    def _vocabulary(self) -> int:
        return int(self.model.get_input_embeddings().num_embeddings)

    def _check_ids(self, batch: Batch) -> None:
        tensors = [batch.input_ids]
        if isinstance(batch, TwoSidedBatch):
            tensors += [batch.decoder_input_ids, batch.targets]
        highest = max(int(tensor.max()) for tensor in tensors)
        if highest >= self._vocabulary():
            raise ConfigError(
                f"token id {highest} is beyond the model's vocabulary of {self._vocabulary()} ids: "
                "the tokenizer is not this model's"
            )

    @torch.no_grad()
    def _try(
        self,
        way: Attention | None,
        groups: list[EncodedGroup],
        numbers: Callable[[Batch], Numbers] | None = None,
    ) -> Numbers:
        """The numbers of some groups by one way, in the precision of the weights."""
        training, device = self.training, next(self.model.parameters()).device
        pad_id = getattr(self.model.config, "pad_token_id", None)
        self._use(way)
        self.eval()
        try:
            with torch.autocast(device.type, enabled=False):
                batch = self.batch(groups, pad_id or 0).to(device)
                return (numbers or self.numbers)(batch)
        finally:
            self.train(training)


class GroupPolicy(GroupModel):
    """A language model; its number for a response is the log-probability, nats."""

    def __init__(self, model: PreTrainedModel, *, temperature: float = 1.0) -> None:
        """Wrap a policy; its logits are divided by the temperature, which is positive."""
        super().__init__(model)
        self.temperature = temperature

    def forward(self, batch: Batch) -> Tensor:
        """Return the log-probability of each response. Shape (B, K)."""
        if isinstance(batch, GroupBatch):
            return sequence_logps(self.model, batch, self.temperature)
        tokens = self.token_logps(batch)
        sums = tokens.new_zeros(batch.mask.numel()).index_add(0, batch.slots, tokens)
        return sums.view(batch.mask.shape)

    def token_logps(self, batch: Batch) -> Tensor:
        """Return the log-probability of each response token, response after response. (S,)."""
        if isinstance(batch, GroupBatch):
            return token_logps_of_rows(self.model, batch, self.temperature)
        if isinstance(batch, TwoSidedBatch) and not self.shared:
            return plain_logps(self.model, batch, self.temperature)
        return head_logps(self.model, self.states(batch), batch.targets, self.temperature)


class GroupReward(GroupModel):
    """A reward model; its number for a response is read at the response's last token."""

    def forward(self, batch: Batch) -> Tensor:
        """Return the reward of each response. Shape (B, K)."""
        if isinstance(batch, GroupBatch):
            return rewards(self.model, batch)
        if isinstance(batch, TwoSidedBatch):
            raise NotImplementedError("a reward model reads its text with a decoder alone")
        states = self.hidden(batch)[batch.last.flatten()]
        # In the head's own type: the differences that count are below what bfloat16 holds.
        with torch.autocast(states.device.type, enabled=False):
            values = self.model.score(states.to(self.model.score.weight.dtype))[:, 0]
        values = values.to(torch.promote_types(values.dtype, torch.float32)).view(batch.mask.shape)
        return torch.where(batch.mask, values, values.new_zeros(()))
