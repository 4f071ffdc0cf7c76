"""What a TQR is: how its logits become Q values, and how its rewards are read and weighed.

Imports no torch: configs are read by `sparring plan`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from tasks.settings.base import FrozenConfig


class TqrConfig(FrozenConfig):
    """A TQR's own settings (AVA, arXiv 2411.09341); they travel with its weights."""

    ptq: bool = True
    """Whether the Q head is the pretrained output head, so that the model stays a policy; else it
    is a new matrix, and the model is for rewards only."""

    q_map: Literal["logit", "prob"] = "logit"
    """How the output head's logits z become Q values, with `ptq`: log_softmax(alpha z), which with
    alpha 1 is the policy's log-probability; `prob`: log_softmax(alpha softmax(z)), Eq. 12 as it is
    printed. A Q head of its own is read as it is."""

    alpha: float = Field(default=1.0, gt=0)
    """Inverse temperature of Q, with `ptq`; with `logit` it is the policy's too. The paper does not
    give it."""

    beta: float = Field(default=1.0, gt=0)
    """With `ptq` the weight of the likelihood (Eq. 13), else the inverse temperature of the policy
    over Q (Eq. 3)."""

    rwt: bool = True
    """Whether positions are weighed by how much the response attends to them (Eq. 11)."""

    rwt_scale: Literal["mean1", "sum1"] = "mean1"
    """`sum1`: the weights of a response sum to 1, as printed; `mean1`: their mean is 1, so that
    scores and spreads do not depend on the length."""

    rwt_width: int = Field(default=256, ge=1)
    """Width of queries and keys; at most the model's own width is taken."""

    rwt_on_lik: bool = False
    """Whether the likelihood is weighed too, as printed. It then rewards attending to tokens that
    are easy to predict."""

    detach_rwt: bool = False
    """Whether the weights learn nothing from the losses: a control."""

    detach_next_q: bool = False
    """Whether no gradient flows through the next Q: a control. The paper has it flow."""

    std_map: Literal["exp", "softplus"] = "exp"
    """What makes the reward's standard deviation positive."""

    score: Literal["last", "return"] = "last"
    """Which reading of a response's rewards is the model's own score, taken where none is named:
    `last`, that where the response's end is chosen, or `return`, all of them (Eq. 19)."""

    reward_shift: Literal[0, 1] = 0
    """Which reward explains a temporal-difference error: 0, that before the action (Eq. 9 and 10);
    1, that after it."""

    @model_validator(mode="before")
    @classmethod
    def _can_be_built(cls, given: Any) -> Any:
        for name, reason in _NOT_BUILT.items():
            if isinstance(given, dict) and name in given:
                raise ValueError(f"{name} is no setting: {reason}")
        return given

    def without(self, part: str) -> TqrConfig:
        """Return these settings without a part, `ptq` or `rwt`, and without what concerns it."""
        return TqrConfig(**self.model_dump(exclude=set(_PARTS[part])) | {part: False})

    def numbers(self, width: int, output_head: int) -> int:
        """Return how many numbers a TQR has beside its language model.

        Args:
            width: Numbers of a hidden state.
            output_head: Numbers of the language model's output head, of which a Q head of its own
                has as many.
        """
        size = min(self.rwt_width, width) if self.rwt else 0
        reward, weights = 2 * (width + 1), size * (2 * width + bool(size))
        return reward + weights + (0 if self.ptq else output_head)

    @model_validator(mode="after")
    def _has_its_parts(self) -> TqrConfig:
        for switch, parts in _PARTS.items():
            given = [name for name in parts if getattr(self, name) != self._usual(name)]
            if given and not getattr(self, switch):
                raise ValueError(
                    f"{switch} is false, so there is nothing for {', '.join(given)} to change: "
                    "leave it out"
                )
        return self

    @classmethod
    def _usual(cls, name: str) -> object:
        return cls.model_fields[name].default

    @property
    def likelihood_weight(self) -> float:
        """What the objectives multiply a log-likelihood with, their `beta`."""
        return self.beta if self.ptq else 1.0

    @property
    def temperature(self) -> float:
        """Temperature at which logits are the policy that was trained: the Q head's without ptq."""
        if not self.ptq:
            return 1 / self.beta
        return 1 / self.alpha if self.q_map == "logit" else 1.0


_NOT_BUILT = {
    "rwt_source": (
        "the weights are by attention of their own. Those of the backbone's last layer are causal, "
        "which leaves the scored position of m next to nothing, 1 / m², and the engine keeps no "
        "attention matrix that they could be read from"
    ),
    "score_position": (
        "the score is read where the end is chosen. The state behind the end is never trained by "
        "AVA-d, and an encoder-decoder has none"
    ),
}
"""Readings of the paper that are refused, and why."""
_PARTS = {
    "ptq": ("q_map", "alpha"),
    "rwt": ("rwt_scale", "rwt_width", "rwt_on_lik", "detach_rwt"),
}
"""What each switch has that means nothing without it."""
