"""What every policy method is: which responses it learns from, its loss, and how it is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tasks.data.groups import Group
from tasks.settings.base import FrozenConfig
from tasks.settings.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    LossAndMetrics = tuple[Tensor, dict[str, Tensor]]
    Loss = Callable[[Tensor, Tensor | None, Tensor, Tensor, Tensor, Any], LossAndMetrics]

RESPONSES = "responses"
"""The key of K, how many responses of each prompt are used; its usual value is the run's."""


class NoCoefficients(FrozenConfig):
    """The coefficients of a method that has none."""


@dataclass(frozen=True)
class Sweepable:
    """A coefficient that the flow `exo` can try with several values."""

    key: str
    """In a sweep's configuration and in the report; methods that are compared share it."""

    symbol: str
    """In the names of branches and in the report."""

    default: float | None = None
    """Where the sweep names no value. None: what the run says (of K, or of PPO's settings)."""

    field: str = ""
    """In the method's coefficients, where it is called otherwise there."""

    @property
    def coefficient(self) -> str:
        """Its name in the method's coefficients."""
        return self.field or self.key


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to align a policy, with all that the flows and the report must know of it."""

    name: str
    """The name in configs, manifests and metrics."""

    title: str = ""
    """The name in reports, the papers' own; `name` by default."""

    aliases: tuple[str, ...] = ()
    """Other names accepted in configs."""

    learns_from: Literal["demonstrations", "preferences", "rewards"] = "rewards"
    """Given responses, pairs of a better and a worse one, or samples that a
    reward model has scored."""

    on_pairs: str = ""
    """The method that stands in for it where there are pairs alone; itself by default."""

    trains: bool = True
    """Whether it changes the policy, rather than choosing among its samples."""

    is_online: bool = False
    """Whether it samples and scores by itself in each of its steps: PPO, a stage of its own."""

    needs_reference: bool = False
    """Whether the loss reads log-probabilities under a reference model."""

    sweepable: tuple[Sweepable, ...] = ()
    """What the flow `exo` may try several values of."""

    optimum: tuple[str, ...] = ()
    """The coefficients whose product is β of the optimum π_ref · exp(reward / β) that it aims at;
    none where its optimum is another."""

    rivals: tuple[str, ...] = ()
    """Methods on the same data that the report compares it with at equal KL, by name."""

    is_baseline: bool = False
    """Whether the report compares it with every method that learns from preferences or rewards."""

    colour: str = ""
    """In plots, as #RRGGBB; the next free one by default."""

    marker: str = ""
    """In plots, a marker of matplotlib's; the next free one by default."""

    @property
    def is_offline(self) -> bool:
        """Whether it is trained on responses that are there, by an optimiser's settings alone."""
        return self.trains and not self.is_online

    @property
    def symbols(self) -> dict[str, str]:
        """The symbols of what may be swept, K aside, by key."""
        return {one.key: one.symbol for one in self.sweepable if one.key != RESPONSES}


@dataclass(frozen=True, kw_only=True)
class GroupMethod(Method):
    """A method that is trained on groups of given responses by minimising a loss.

    Shapes: B groups, K responses. ``loss`` maps (policy_logps (B, K), reference_logps (B, K) or
    None, rewards (B, K), lengths (B, K), mask (B, K), coefficients) to the loss per group (B,)
    and named metrics per group (B,), which carry no gradient.
    """

    select: Callable[[Group], list[Group]]
    """The groups to train on that one scored group yields; none where it teaches nothing."""

    loss: Loss
    """Loss and metrics per group."""

    coefficients: type[FrozenConfig] = NoCoefficients
    """The config class of the method's own coefficients."""


@dataclass(frozen=True, kw_only=True)
class TqrMethod(Method):
    """A method that trains a TQR, a policy with rewards for each token: a stage of its own.

    Its name is that of the objective of `update_tqr`, and what may be swept of it are weights of
    that: fields of `AvaWeights`.
    """


def require_scores(group: Group, method: str, at_least: int = 1) -> tuple[float, ...]:
    """Return the scores of a group, one per response, which a method wants to learn from.

    Raises:
        ConfigError: The group has too few responses or no scores.
    """
    if len(group.responses) < at_least:
        raise ConfigError(
            f"{method} needs at least {at_least} scored responses per prompt, and group "
            f"{group.title} has {len(group.responses)}: sample more, or choose another method"
        )
    if group.scores is None:
        raise ConfigError(
            f"{method} needs a score for every response, and group {group.title} has none: "
            "score the responses first"
        )
    return group.scores
