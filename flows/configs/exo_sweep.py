"""The branches of the flow `exo`: every combination of method, coefficients, K, τ and seed.

Imports no torch: `sparring plan` and a dry run read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from tasks.settings.base import FrozenConfig
from tasks.training.config import PolicyConfig, TrainingConfig

BranchMethod = Literal["exo_rw", "exo_pref", "dpo_rw", "dpo", "ppo", "sft", "best_of_n"]
REWARDED = frozenset({"exo_rw", "dpo_rw", "ppo", "best_of_n"})
"""Methods that need a reward for each sample; the others learn from pairs."""
_KNOBS = {
    "exo_rw": {"beta_pi", "beta_r", "responses"},
    "dpo_rw": {"beta_pi", "beta_r", "responses"},
    "exo_pref": {"beta_pi", "epsilon"},
    "dpo": {"beta_pi"},
    "ppo": {"kl_coef"},
    "sft": set(),
    "best_of_n": {"responses"},
}
"""Which coefficients each method has."""

_EPSILON = 1e-3


def _as_tuple(given: Any) -> Any:
    return given if isinstance(given, (list, tuple)) or given is None else (given,)


Positive = Annotated[float, Field(gt=0)]
Several = Annotated[tuple[Positive, ...], BeforeValidator(_as_tuple)]
Counts = Annotated[tuple[Annotated[int, Field(ge=2)], ...], BeforeValidator(_as_tuple)]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(_as_tuple)]


class SweepConfig(FrozenConfig):
    """One method with the values it is tried with; each of them may be a number or a list."""

    method: BranchMethod
    """exo_rw, dpo_rw (K scored samples), exo_pref, dpo, sft (pairs; sft imitates the chosen
    response), ppo, or best_of_n, which trains nothing."""

    beta_pi: Several = ()
    """β_π, or β of dpo: how sharply log-ratios are read as a choice. Default 0.5; IMDB: 0.1."""

    beta_r: Several = ()
    """β_r, reward units: how softly rewards choose. Default 0.1: arXiv 2402.00856."""

    epsilon: Several = ()
    """ε of exo_pref, in (0, 1/2). Default 1e-3: arXiv 2402.00856."""

    kl_coef: Several = ()
    """Weight of PPO's KL penalty, reward units per nat. Default: that of `ppo`."""

    responses: Counts = ()
    """K of exo_rw and dpo_rw: the first so many samples of each prompt; default all. N of
    best_of_n; default 128."""

    temperatures: Several = ()
    """τ of sampling, training and evaluation. Default: the run's `temperature`."""

    seeds: Seeds = ()
    """Of data order and draws; the start and its samples are shared. Default: the run's `seed`."""

    training: TrainingConfig | None = None
    """The optimiser's settings, whole, instead of the run's `training`."""

    @model_validator(mode="after")
    def _knobs_of_the_method(self) -> SweepConfig:
        given = {
            name for name in set().union(*_KNOBS.values()) if getattr(self, name) not in ((), None)
        }
        if strange := sorted(given - _KNOBS[self.method]):
            known = ", ".join(sorted(_KNOBS[self.method])) or "none"
            raise ValueError(f"{self.method} has no {strange[0]}; its coefficients: {known}")
        if any(not 0 < value < 0.5 for value in self.epsilon):
            raise ValueError(f"epsilon must be in (0, 1/2), got {self.epsilon}")
        if self.training and self.method in ("ppo", "best_of_n"):
            raise ValueError(f"{self.method} does not read `training`")
        return self


class Branch(FrozenConfig):
    """One combination of the sweep."""

    method: BranchMethod
    """How the policy is aligned."""

    beta_pi: float | None = None
    """β_π, or β of dpo; None where the method has none."""

    beta_r: float | None = None
    """β_r; None where the method has none."""

    epsilon: float | None = None
    """ε of exo_pref."""

    kl_coef: float | None = None
    """Of PPO; None: that of `ppo`."""

    responses: int | None = None
    """K, or N of best-of-N; None: all samples."""

    temperature: float
    """τ."""

    seed: int
    """Of data order and draws."""

    training: TrainingConfig | None = None
    """The optimiser's settings; None for what has none."""

    @property
    def name(self) -> str:
        """What people call it, without the seed: `exo_rw K8 βπ0.5 βr0.1`."""
        parts = [
            self.method,
            f"{'N' if self.method == 'best_of_n' else 'K'}{self.responses}"
            if self.responses
            else "",
            f"{'β' if self.method == 'dpo' else 'βπ'}{self.beta_pi:g}" if self.beta_pi else "",
            f"βr{self.beta_r:g}" if self.beta_r else "",
            f"ε{self.epsilon:g}" if self.epsilon not in (None, _EPSILON) else "",
            f"kl{self.kl_coef:g}" if self.kl_coef else "",
        ]
        return " ".join(filter(None, parts))

    def label(self, base: float) -> str:
        """Return the name with the seed, and τ where it is not the run's.

        Args:
            base: τ of the run.
        """
        tau = "" if self.temperature == base else f" τ{self.temperature:g}"
        return f"{self.name}{tau} s{self.seed}"

    def update(self, shared: PolicyConfig) -> PolicyConfig:
        """Return the settings of the policy update.

        Args:
            shared: limits and template.
        """
        assert self.training is not None, "asked of branches that are trained on groups"
        coefficients = {
            "exo_rw": {"beta_pi": self.beta_pi, "beta_r": self.beta_r, "responses": self.responses},
            "dpo_rw": {"beta_pi": self.beta_pi, "beta_r": self.beta_r, "responses": self.responses},
            "exo_pref": {"beta_pi": self.beta_pi, "epsilon": self.epsilon},
            "dpo": {"beta": self.beta_pi},
            # The best of a pair is the chosen response.
            "sft": {},
        }[self.method]
        return PolicyConfig(
            method="rjs" if self.method == "sft" else self.method,
            coefficients=coefficients,  # the method's own class takes them
            training=self.training,
            limits=shared.limits,
            template=shared.template,
            temperature=self.temperature,
        )


def branches_of(
    sweep: SweepConfig, *, temperature: float, seed: int, training: TrainingConfig, samples: int
) -> Iterator[Branch]:
    """Yield every combination of one method's values.

    Args:
        sweep: the method with its values.
        temperature: τ where the sweep names none.
        seed: where the sweep names none.
        training: the optimiser's settings where the sweep has none of its own.
        samples: K where the sweep names none.
    """
    knobs = _KNOBS[sweep.method]
    defaults: dict[str, tuple[Any, ...]] = {
        "beta_pi": (0.5,),
        "beta_r": (0.1,),
        "epsilon": (_EPSILON,),
        "kl_coef": (None,),
        "responses": (128 if sweep.method == "best_of_n" else samples,),
    }
    choices = {
        name: (getattr(sweep, name) or default) if name in knobs else (None,)
        for name, default in defaults.items()
    }
    choices["temperature"] = sweep.temperatures or (temperature,)
    choices["seed"] = sweep.seeds or (seed,)
    trains = sweep.method not in ("ppo", "best_of_n")
    for values in product(*choices.values()):
        yield Branch(
            method=sweep.method,
            training=(sweep.training or training) if trains else None,
            **dict(zip(choices, values, strict=True)),
        )
