"""The cells of the flow `ava`: which data, pipeline, objective and ablation go together.

Every combination that is no cell is refused with its reason. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, model_validator

from tasks.models.tqr.config import TqrConfig
from tasks.settings.base import FrozenConfig, Seed
from tasks.training.ava_config import AvaWeights
from tasks.training.config import TrainingConfig

DataKind = Literal["preferences", "demonstrations", "afd"]
Pipeline = Literal["reward_model", "direct"]
Objective = Literal["ava_p", "ava_d", "bradley_terry", "preference_transformer", "dpo", "sft"]
Ablation = Literal["none", "rwt", "neg", "irl", "cer", "ptq"]

TQR_OBJECTIVES = ("ava_p", "ava_d")
"""They train a TQR, which is a reward model and, with ptq, a policy."""
REWARD_ONLY = ("bradley_terry", "preference_transformer")
POLICY_ONLY = ("dpo", "sft")
ON_PAIRS = ("ava_p", *REWARD_ONLY, "dpo")
"""They learn from a better and a worse response; the others imitate one."""
OF_THE_MODEL = ("rwt", "ptq")
"""Ablations of the TQR; the others are of AVA-p's loss."""
_TITLES = {
    "ava_p": "AVA-p",
    "ava_d": "AVA-d",
    "bradley_terry": "Bradley-Terry",
    "preference_transformer": "Pref-Trans",
    "dpo": "DPO",
    "sft": "SFT",
}
_LEARNT = {"preferences": "", "demonstrations": " on demonstrations", "afd": " w/ AfD"}


class Cell(NamedTuple):
    """One arm with one seed: what is learnt, from what, and what is left out."""

    data: DataKind
    """preferences; demonstrations; or afd, pairs made of demonstrations without labels."""
    pipeline: Pipeline
    """reward_model: a reward model for best-of-N and PPO; direct: the policy itself."""
    objective: Objective
    """What trains it."""
    ablation: Ablation = "none"
    """Which part of AVA is left out."""
    seed: int = 0
    """Of weights, data order and draws."""

    @property
    def label(self) -> str:
        """What people call it: `ava_p w/o rwt, direct on afd, s0`."""
        without = "" if self.ablation == "none" else f" w/o {self.ablation}"
        return f"{self.objective}{without}, {self.pipeline} on {self.data}, s{self.seed}"

    @property
    def title(self) -> str:
        """What the paper and the report call it, without the seed: `AVA-p w/o rwt`."""
        without = "" if self.ablation == "none" else f" w/o {self.ablation}"
        return f"{_TITLES[self.objective]}{without}{_LEARNT[self.data]}"

    @property
    def goes_on(self) -> bool:
        """Whether best-of-N and PPO continue with it: a reward model that lacks no part."""
        return self.pipeline == "reward_model" and self.ablation == "none"

    def tqr(self, shared: TqrConfig) -> TqrConfig:
        """Return the model's settings, without the part that is ablated and what concerns it."""
        if self.ablation not in OF_THE_MODEL:
            return shared
        return shared.without(self.ablation)

    def weights(self, shared: AvaWeights) -> AvaWeights:
        """Return the loss's weights, without the part that is ablated."""
        in_the_loss = self.ablation not in ("none", *OF_THE_MODEL)
        return shared.without(self.ablation) if in_the_loss else shared


def refusal(cell: Cell) -> str | None:
    """Say why a combination is no cell; None for a cell.

    Example:
        >>> refusal(Cell("demonstrations", "direct", "ava_d"))
        >>> refusal(Cell("preferences", "direct", "bradley_terry"))
        'bradley_terry trains a reward model and no policy: its pipeline is reward_model'
    """
    return _of_the_pipeline(cell) or _of_the_data(cell) or _of_the_ablation(cell)


def _of_the_pipeline(cell: Cell) -> str | None:
    name = cell.objective
    if cell.pipeline == "direct" and name in REWARD_ONLY:
        return f"{name} trains a reward model and no policy: its pipeline is reward_model"
    if cell.pipeline == "reward_model" and name in POLICY_ONLY:
        return f"{name} trains a policy and no reward model: its pipeline is direct"
    return None


def _of_the_data(cell: Cell) -> str | None:
    name, is_on_pairs = cell.objective, cell.objective in ON_PAIRS
    if cell.data == "demonstrations" and is_on_pairs:
        return (
            f"{name} learns from pairs and demonstrations have none: use ava_d or sft, or make "
            "pairs of them with data afd"
        )
    if cell.data == "afd" and not is_on_pairs:
        return (
            f"{name} imitates single responses, and the chosen ones of afd may be a policy's "
            "samples: give it the demonstrations themselves"
        )
    return None


def _of_the_ablation(cell: Cell) -> str | None:
    name, part = cell.objective, cell.ablation
    if part == "none":
        return None
    if name not in TQR_OBJECTIVES:
        return (
            f"{name} has no ablation: {part} is a part of AVA, so of {' and '.join(TQR_OBJECTIVES)}"
        )
    if name == "ava_d" and part not in OF_THE_MODEL:
        return f"ava_d has no {part}: that is a part of ava_p alone"
    if part == "ptq" and cell.pipeline == "direct":
        return (
            "without ptq the Q head is new and no pretrained policy: its pipeline is reward_model"
        )
    return None


def _as_tuple(given: Any) -> Any:
    return given if isinstance(given, (list, tuple)) else (given,)


class ArmConfig(FrozenConfig):
    """Some cells: every combination of what is listed; each key may be a value or a list."""

    objective: Annotated[tuple[Objective, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
    """ava_p, bradley_terry, preference_transformer and dpo learn from pairs, ava_d and sft from
    demonstrations or from the chosen halves of pairs."""

    data: Annotated[tuple[DataKind, ...], BeforeValidator(_as_tuple), Field(min_length=1)] = (
        "preferences",
    )
    """preferences; demonstrations; or afd, pairs made of the demonstrations by `afd_pairing`."""

    pipeline: Annotated[tuple[Pipeline, ...], BeforeValidator(_as_tuple), Field(min_length=1)] = (
        "reward_model",
    )
    """reward_model: a reward model, then best-of-N and PPO with it; direct: the policy itself."""

    ablation: Annotated[tuple[Ablation, ...], BeforeValidator(_as_tuple), Field(min_length=1)] = (
        "none",
    )
    """Parts of AVA to leave out, one at a time: rwt (reward weights), ptq (the pretrained Q head),
    and of ava_p alone neg (rejected responses but for the contrast), irl (KL and
    temporal-difference terms) and cer (the contrast). `none` is the whole. A reward model without a
    part is measured by its accuracy alone."""

    seeds: Annotated[tuple[Seed, ...], BeforeValidator(_as_tuple)] = ()
    """Of weights, data order and draws. Default: the run's `seed`."""

    training: TrainingConfig | None = None
    """The optimiser's settings, whole, instead of the run's `training`."""

    def cells(self, seed: int) -> Iterator[Cell]:
        """Yield every combination; `seed` serves where none is named."""
        axes = (self.data, self.pipeline, self.objective, self.ablation, self.seeds or (seed,))
        yield from (Cell(*values) for values in product(*axes))

    @model_validator(mode="after")
    def _are_cells(self) -> ArmConfig:
        for cell in self.cells(seed=0):
            if reason := refusal(cell):
                raise ValueError(reason)
        return self
