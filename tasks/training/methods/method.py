"""What every policy method is: a choice of responses, and a loss on their log-probabilities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.data.groups import Group
from tasks.settings.base import FrozenConfig
from tasks.settings.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    LossAndMetrics = tuple[Tensor, dict[str, Tensor]]


class NoCoefficients(FrozenConfig):
    """The coefficients of a method that has none."""


@dataclass(frozen=True)
class Method:
    """One way to update a policy.

    Shapes: B groups, K responses. ``loss`` maps (policy_logps (B, K), reference_logps (B, K) or
    None, rewards (B, K), lengths (B, K), mask (B, K), coefficients) to the loss per group (B,)
    and named metrics per group (B,), which carry no gradient.
    """

    name: str
    """The name in configs, manifests and metrics."""

    select: Callable[[Group], list[Group]]
    """The groups to train on that one scored group yields; none where it teaches nothing."""

    loss: Callable[[Tensor, Tensor | None, Tensor, Tensor, Tensor, Any], LossAndMetrics]
    """Loss and metrics per group."""

    aliases: tuple[str, ...] = ()
    """Other names accepted in configs."""

    needs_reference: bool = False
    """Whether the loss reads log-probabilities under a reference model."""

    min_responses: int = 1
    """Fewest responses a group must have before selection."""

    coefficients: type[FrozenConfig] = NoCoefficients
    """The config class of the method's own coefficients."""


def require_scores(group: Group, method: str, at_least: int = 1) -> tuple[float, ...]:
    """Return the scores of a group, one per response.

    Args:
        group: the group a method wants to learn from.
        method: the method's name, for the message.
        at_least: fewest responses the method can use.

    Raises:
        ConfigError: the group has too few responses or no scores.
    """
    if len(group.responses) < at_least:
        raise ConfigError(
            f"{method} needs at least {at_least} scored responses per prompt, and group "
            f"{group.id} has {len(group.responses)}: sample more, or choose another method"
        )
    if group.scores is None:
        raise ConfigError(
            f"{method} needs a score for every response, and group {group.id} has none: "
            "score the responses first"
        )
    return group.scores
