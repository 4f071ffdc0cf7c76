"""A TQR that reads groups: the terms of AVA's losses and the rewards of every response, at once.

The places that predict the response tokens are exactly its action positions: position t of a
response has seen everything before response token t, which is its action. The last one chooses the
response's end, and the reward there is the response's score.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from tasks.models.chunked_logps import target_and_logsumexp, token_readings
from tasks.models.groups.encoder_decoder import TwoSidedBatch, plain_logps
from tasks.models.groups.group_model import Batch, GroupModel
from tasks.models.output_head import called_as, head_logps, head_readings
from tasks.models.padded_batches import GroupBatch
from tasks.models.policy import token_logps_of_rows
from tasks.models.prompt_sharing_check import Numbers, disagreement, probe_groups
from tasks.models.tqr.heads import Rewards, TqrHeads, spread_out
from tasks.objectives.ava import AvaTerms, q_values
from tasks.settings.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class TqrOutput(NamedTuple):
    """What a TQR says of groups; all of shape (B, K, T), 0 or False where there is no position."""

    terms: AvaTerms
    """What the losses take, which want one response per row: `column(output.terms, k)`."""
    rewards: Rewards
    """The reward of every action position, that of an appended end included."""
    mask: Tensor
    """Bool: where those positions are."""


class GroupTqr(GroupModel):
    """A language model with the heads of a TQR. B groups, K responses, T tokens of the longest."""

    def __init__(self, model: PreTrainedModel, heads: TqrHeads) -> None:
        """Join a language model and its heads.

        Raises:
            ConfigError: The model has no output head that we know how to read.
        """
        output_shape(model)
        super().__init__(model)
        self.heads = heads

    def forward(
        self, batch: Batch, ended: Tensor | None = None, *, reads_q: bool = True
    ) -> TqrOutput:
        """Return terms and rewards of every response, in one pass.

        Args:
            batch: Groups whose responses all end with EOS, in the layout of `batch`.
            ended: Which responses their author ended, bool, shape (B, K). Of the others EOS was
                appended (`closed`): it is scored, but not an action to learn. None: all.
            reads_q: Whether Q values and likelihoods are wanted; else they are 0, and cost nothing.
        """
        return self.read(self.states(batch), batch, ended, reads_q=reads_q)

    def read(
        self,
        states: Tensor,
        batch: Batch,
        ended: Tensor | None = None,
        *,
        reads_q: bool = True,
    ) -> TqrOutput:
        """Return what `forward` does, from the hidden states of the action positions.

        Args:
            states: Response after response, as `states` returns them. Shape (S, H).
            batch: What they are of.
            ended: As `forward`.
            reads_q: As `forward`.
        """
        config = self.heads.config
        columns = torch.arange(int(batch.lengths.max()), device=batch.lengths.device)
        left = batch.lengths.unsqueeze(-1) - columns
        mask = left > 0
        rewards: Rewards = self.heads(states, mask)
        if reads_q:
            q, log_lik = self._q(states, targets_of(batch), rewards.weights[mask])
        else:
            q = log_lik = states.new_zeros(len(states))
        weighted = spread_out(q, mask)
        following = weighted.detach() if config.detach_next_q else weighted
        actions = mask if ended is None else mask & (ended.unsqueeze(-1) | (left > 1))
        mean, log_std = rewards.mean, rewards.log_std
        if config.reward_shift:
            mean, log_std = _shifted(mean), _shifted(log_std)
        terms = AvaTerms(
            weighted,
            _shifted(following),
            spread_out(log_lik, mask),
            mean,
            log_std,
            actions,
            actions & _shifted(actions),
        )
        return TqrOutput(terms, rewards, mask)

    def check(self, tokens: Sequence[int]) -> None:
        """Find out whether prompts can be shared, as every group model; see `GroupModel.check`.

        Raises:
            ConfigError: The model does something to its logits that we do not know of.
        """
        super().check(tokens)
        if self.shared or not self.heads.config.ptq:
            return
        plain = partial(self._try, None, probe_groups(tokens))
        by_head = partial(self.numbers, by_head=True)
        off = disagreement(self.model, plain, partial(plain, numbers=by_head))
        if off is not None:
            raise ConfigError(
                f"the log-probabilities of {type(self.model).__name__} are not those of its output "
                f"head (they differ by {off:.2g} of their size), so Q values cannot be read there: "
                "take a model such as GPT-2, Llama, BART or T5"
            )

    def numbers(self, batch: Batch, *, by_head: bool | None = None) -> Numbers:
        """Return states, Q, log-probabilities and the rewards of heads drawn at random.

        A fresh reward head says 0 of every state, and would agree with everything.

        Args:
            batch: Probe groups.
            by_head: Whether log-probabilities are read as the Q values are; else the model itself
                says them. None: where prompts are shared.
        """
        states = self.states(batch)
        output = self.read(states, batch)
        rewards = self.heads.drawn_anew()(states, output.mask)
        numbers = states, output.terms.q, rewards.mean, rewards.log_std
        if not self.heads.config.ptq:
            return numbers
        if by_head or (by_head is None and self.shared):
            return *numbers, head_logps(self.model, states, targets_of(batch), 1.0)
        if isinstance(batch, GroupBatch):
            return *numbers, token_logps_of_rows(self.model, batch)
        assert isinstance(batch, TwoSidedBatch), "a packed row is on the shared path"
        return *numbers, plain_logps(self.model, batch, 1.0)

    def _q(self, states: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The weighted Q of each action and its log-likelihood. Shapes (S,)."""
        config = self.heads.config
        if not config.ptq:
            if config.rwt_on_lik:
                # The head has no bias: weighted states make weighted Q values.
                states = states.to(weights.dtype) * weights.unsqueeze(-1)
            own, total = self._own_q(states, targets)
            q = own / config.beta
            return q if config.rwt_on_lik else q * weights, own - total
        if config.q_map == "logit":
            q = head_logps(self.model, states, targets, 1 / config.alpha)
        else:
            q = head_readings(self.model, states, targets, self._read_prob)[:, 0]
        return q * weights, q * weights if config.rwt_on_lik else q

    def _read_prob(self, logits: Tensor, targets: Tensor) -> Tensor:
        q = q_values(logits.unsqueeze(0), alpha=self.heads.config.alpha, q_map="prob")
        return q.squeeze(0).gather(-1, targets.unsqueeze(-1))

    def _own_q(self, states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The own head's beta Q of each action, and log Σ exp(beta Q) of all. Shapes (S,)."""
        head, beta = self.heads.q_head, self.heads.config.beta

        def tempered(logits: Tensor, targets: Tensor) -> Tensor:
            return target_and_logsumexp(beta * logits, targets)

        def read(states: Tensor) -> Tensor:
            return token_readings(states, head.weight, None, targets, tempered)

        own, total = called_as(head, read, states).unbind(dim=-1)
        return own, total


def output_shape(model: PreTrainedModel) -> tuple[int, int]:
    """Return the width of a language model's last hidden states, and the size of its vocabulary.

    Raises:
        ConfigError: Its output head is not one matrix, which Q values could be read from.
    """
    head = model.get_output_embeddings()
    if isinstance(head, nn.Linear):
        return head.in_features, head.out_features
    found = "no output head" if head is None else f"a {type(head).__name__} as its output head"
    raise ConfigError(
        f"a TQR is made of a language model whose output head is one matrix, and "
        f"{type(model).__name__} has {found}: take one such as GPT-2, Llama, BART or T5"
    )


def column(terms: AvaTerms, response: int) -> AvaTerms:
    """Return the terms of one response of each group, as the losses take them. Shapes (B, T)."""
    return AvaTerms(*(part[:, response] for part in terms))


def _shifted(values: Tensor) -> Tensor:
    """What stands one position later, and 0 or False at the end."""
    return pad(values[..., 1:], (0, 1))


def targets_of(batch: Batch) -> Tensor:
    """Return the response tokens, EOS included, response after response. Shape (S,)."""
    if isinstance(batch, GroupBatch):
        return batch.input_ids[batch.response_mask]
    return batch.targets
