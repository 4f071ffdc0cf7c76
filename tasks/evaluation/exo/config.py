"""What the evaluation stages of the flow `exo` are told; imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tasks.models.tokens.encoding import Limits
from tasks.settings.base import FrozenConfig, Seed

Kind = Literal["start", "chosen", "policy", "best_of_n"]


class DensityConfig(FrozenConfig):
    """How the density ratio of learned and optimal policies to their start is estimated."""

    limits: Limits
    """Token limits of the policies."""

    template: str | None
    """The policies' chat template by name; None for the tokenizer's own."""

    temperature: float = Field(default=1.0, gt=0)
    """The logits of all policies are divided by it: what the samples were drawn at."""

    betas: dict[str, Annotated[float, Field(gt=0)]]
    """By policy the β of the optimum ∝ start · exp(reward/β) that it is compared with, reward
    units: what its own method aims at, such as β_π · β_r."""

    prompts: int = Field(default=10, ge=1)
    """Only the first so many prompts. Default 10: EXO, Figure 9."""

    bandwidth: float | None = Field(default=None, gt=0)
    """Standard deviation of the Gaussian kernel, nats of log start(y|x); None is Silverman's rule
    per prompt."""

    grid: int = Field(default=200, ge=2)
    """Points at which the density is evaluated."""


class MethodFacts(FrozenConfig):
    """What the report must know of a policy method: the attributes of the same names."""

    title: str = ""
    """What the report calls it; its name by default."""

    learns_from: str = "rewards"
    """What it is trained on: demonstrations, preferences or rewards."""

    symbols: dict[str, str] = {}
    """Its coefficients that a sweep may vary, K aside: key -> how the report writes it."""

    rivals: tuple[str, ...] = ()
    """Methods on the same data that it is compared with at equal KL."""

    is_baseline: bool = False
    """Whether it is compared with every other method that learns from preferences or rewards."""

    colour: str = ""
    """In plots, as #RRGGBB; the next free one by default."""

    marker: str = ""
    """In plots, a marker of matplotlib's; the next free one by default."""


class ExoEntry(FrozenConfig):
    """One contender: a state of a trained policy, or what it is measured against."""

    name: str
    """Name of its evaluation among those given to the report."""

    kind: Kind = "policy"
    """start: the SFT policy. chosen: the chosen responses. best_of_n: picked samples of the start,
    whose KL is analytic. policy: a checkpoint of a branch."""

    method: str = ""
    """Policy method of a branch, such as exo_rw; empty for the start and the chosen responses."""

    supervision: str = ""
    """Where the reward comes from: preferences, reward_model or oracle. Empty for none."""

    coefficients: dict[str, float] = {}
    """The values of the method's coefficients by key, such as beta_pi; K is `responses`."""

    responses: int | None = None
    """K of a K-wise method, N of best-of-N; None for the rest."""

    temperature: float = 1.0
    """τ of training and sampling."""

    seed: Seed = 0
    """Seed of the branch."""

    step: int = Field(default=0, ge=0)
    """Optimiser steps done; 0 where nothing was trained."""

    is_last: bool = True
    """Whether it is the branch's last checkpoint, which tables show."""

    @model_validator(mode="after")
    def _complete(self) -> ExoEntry:
        if self.kind in ("policy", "best_of_n") and not self.method:
            raise ValueError(f"the {self.kind} {self.name!r} needs the method that made it")
        if self.kind == "best_of_n" and not self.responses:
            raise ValueError(f"best-of-N {self.name!r} needs its N as `responses`")
        return self


class ExoReportConfig(FrozenConfig):
    """What the report of the flow `exo` must know beside the evaluations."""

    entries: tuple[ExoEntry, ...]
    """Contenders in the order of the tables; exactly one is the start, one at most is chosen."""

    methods: dict[str, MethodFacts]
    """What every method of the entries is, by its name."""

    judge: str = "oracle"
    """Whose reward the frontier shows: a judge of the evaluations."""

    reward_model: str | None = None
    """The judge whose win rates make Tables 1 and 2, the training reward; None for `judge`."""

    seen: tuple[str, ...] = ()
    """Sets of pairs that the reward model was trained on, so that its metrics there say little."""

    title: str = "EXO and its baselines"
    """Title of the report."""

    facts: dict[str, str] = {}
    """What was run, by name: data, supervision, …"""

    examples: int = Field(default=8, ge=0)
    """Prompts shown with outputs. Default 8: EXO, Tables 5 and 6."""

    bootstrap_samples: int = Field(default=2000, ge=1)
    """Resamples of seeds and prompts for each 95 % interval."""

    @model_validator(mode="after")
    def _one_start(self) -> ExoReportConfig:
        names = [entry.name for entry in self.entries]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"entries need names of their own, got {min(twice)!r} twice")
        if strange := {one.method for one in self.entries if one.method} - self.methods.keys():
            raise ValueError(f"methods says nothing of {min(strange)!r}, which an entry names")
        for kind, least in (("start", 1), ("chosen", 0)):
            count = sum(entry.kind == kind for entry in self.entries)
            if not least <= count <= 1:
                raise ValueError(f"expected one entry of kind {kind}, got {count}")
        return self
