"""The branches of the flow `exo`: every combination of method, coefficients, K, τ and seed.

What a method is, and which of its coefficients may be swept, is said in tasks/training/methods.
Imports no torch: `sparring plan` and a dry run read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from tasks.evaluation.config import BestOfN
from tasks.models.tqr.config import TqrConfig
from tasks.settings.base import FrozenConfig, Seed
from tasks.training.ava_config import AvaWeights
from tasks.training.config import PolicyConfig, TrainingConfig
from tasks.training.methods.coefficients import GroupCoefficients
from tasks.training.methods.method import RESPONSES, GroupMethod, Method, TqrMethod
from tasks.training.methods.registry import get_method
from tasks.training.ppo.config import PpoConfig
from tasks.training.tqr_config import TqrUpdateConfig


def _as_tuple(given: Any) -> Any:
    return given if isinstance(given, (list, tuple)) or given is None else (given,)


Values = Annotated[tuple[int | float, ...], BeforeValidator(_as_tuple)]
Temperatures = Annotated[tuple[Annotated[float, Field(gt=0)], ...], BeforeValidator(_as_tuple)]
Methods = Annotated[
    tuple[Annotated[str, AfterValidator(lambda name: get_method(name).name)], ...],
    BeforeValidator(_as_tuple),
]
Seeds = Annotated[tuple[Seed, ...], BeforeValidator(_as_tuple)]


class SweepConfig(FrozenConfig):
    """One method with the values it is tried with; each of them may be a number or a list."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Values] = Field(init=False)

    method: str
    """Any policy method, by name or alias: exo_rw, dpo_rw, rjs, rrhf (scored samples), exo_pref,
    dpo, sft (pairs; sft imitates the chosen response), ava_p and ava_d (the same pairs; ava_d reads
    the chosen response alone), ppo, or best_of_n, which trains nothing.
    What may be tried of it are further keys here: beta_pi (of dpo its β; default 0.5), beta_r
    (0.1), epsilon of exo_pref (1e-3), kl_coef of ppo (that of `ppo`), lam and c_kl of ava_p and
    ava_d, b_neg and c_cer of ava_p (those of `ava`), and responses: the K of
    exo_rw and dpo_rw (the first so many samples; default all) or the N of best_of_n (128)."""

    temperatures: Temperatures = ()
    """τ of sampling, training and evaluation. Default: the run's `temperature`."""

    seeds: Seeds = ()
    """Of data order and draws; the start and its samples are shared. Default: the run's `seed`."""

    training: TrainingConfig | None = None
    """The optimiser's settings, whole, instead of the run's `training`."""

    @property
    def coefficients(self) -> dict[str, tuple[float, ...]]:
        """The values of the method's coefficients, by key."""
        return {key: values for key, values in self.__pydantic_extra__.items() if values}

    @field_validator("method")
    @classmethod
    def _known_method(cls, name: str) -> str:
        return get_method(name).name

    @model_validator(mode="after")
    def _coefficients_of_the_method(self) -> SweepConfig:
        method = get_method(self.method)
        names = {one.key: one.coefficient for one in method.sweepable}
        for key, values in self.coefficients.items():
            if key not in names:
                raise ValueError(
                    f"{self.method} has no {key}; its coefficients: "
                    f"{', '.join(sorted(names)) or 'none'}; further keys: "
                    f"{', '.join(type(self).model_fields)}"
                )
            for value in values:
                _check(method, key, names[key], value)
        if self.training and not method.is_offline:
            raise ValueError(f"{self.method} does not read `training`")
        return self


class Branch(FrozenConfig):
    """One combination of the sweep."""

    method: str
    """How the policy is aligned."""

    coefficients: dict[str, int | float] = {}
    """The method's coefficients, by their keys in a sweep; those that it has."""

    temperature: float
    """τ."""

    seed: int
    """Of data order and draws."""

    training: TrainingConfig | None = None
    """The optimiser's settings; None for what has none."""

    @property
    def traits(self) -> Method:
        """What the method is."""
        return get_method(self.method)

    @property
    def is_on_samples(self) -> bool:
        """Whether it is trained on samples of the start that somebody scored."""
        method = self.traits
        return isinstance(method, GroupMethod) and method.learns_from == "rewards"

    @property
    def responses(self) -> int | None:
        """K, or N of best-of-N; None where the method has none."""
        count = self.coefficients.get(RESPONSES)
        return None if count is None else int(count)

    @property
    def name(self) -> str:
        """What people call it, without the seed: `EXO-rw K=8 β_π=0.5 β_r=0.1`.

        The report's name of its series has some of these words: those that tell it from the others.
        """
        parts = [self.traits.title or self.method]
        for one in sorted(self.traits.sweepable, key=lambda one: one.key != RESPONSES):
            value = self.coefficients.get(one.key)
            if value is not None:
                parts.append(f"{one.symbol}={value:g}")
        return " ".join(parts)

    def label(self, base: float) -> str:
        """Return the name with the seed, and with τ where it is not the run's, `base`."""
        tau = "" if self.temperature == base else f" τ={self.temperature:g}"
        return f"{self.name}{tau} s{self.seed}"

    def settings(self) -> dict[str, int | float]:
        """Return the coefficients as the method's own settings call them."""
        names = {one.key: one.coefficient for one in self.traits.sweepable}
        return {names[key]: value for key, value in self.coefficients.items()}

    def update(self, shared: PolicyConfig) -> PolicyConfig:
        """Return the settings of the policy update, with the limits and template of `shared`."""
        assert self.training is not None, "asked of branches that are trained on groups"
        method, settings = self.traits.on_pairs or self.method, self.settings()
        return PolicyConfig(
            method=method,
            coefficients=GroupCoefficients(**{method: settings} if settings else {}),
            training=self.training,
            limits=shared.limits,
            template=shared.template,
            temperature=self.temperature,
        )

    def tqr_update(self, tqr: TqrConfig, ava: AvaWeights, shared: PolicyConfig) -> TqrUpdateConfig:
        """Return the settings of the update of a TQR, whose policy is that of τ.

        Args:
            tqr: The run's settings of such models; log_softmax(z / τ) is the Q of `logit`.
            ava: Weights of the loss, where the branch has none of its own.
            shared: Limits and template.

        Raises:
            ValidationError: The branch's weights do not go with the others.
        """
        if tqr.q_map == "logit":
            tqr = tqr.model_copy(update={"alpha": 1 / self.temperature})
        return TqrUpdateConfig.model_validate(
            {
                "objective": self.method,
                "tqr": tqr,
                "ava": ava.model_dump() | self.settings(),
                "training": self.training,
                "limits": shared.limits,
                "template": shared.template,
            }
        )


def branches_of(
    sweep: SweepConfig, *, temperature: float, seed: int, training: TrainingConfig, samples: int
) -> Iterator[Branch]:
    """Yield every combination of one method's values; τ, K … serve where the sweep has none."""
    method = get_method(sweep.method)
    choices: dict[str, tuple[float, ...]] = {}
    for one in method.sweepable:
        usual = samples if one.key == RESPONSES and one.default is None else one.default
        values = sweep.coefficients.get(one.key) or ((usual,) if usual is not None else ())
        if values:
            choices[one.key] = values
    own = sweep.training or training
    if not sweep.training and not isinstance(method, TqrMethod):
        own = training.model_copy(update={"head_learning_rate": None})
    shared = (sweep.temperatures or (temperature,), sweep.seeds or (seed,))
    for combination in product(*choices.values(), *shared):
        yield Branch(
            method=sweep.method,
            coefficients=dict(zip(choices, combination, strict=False)),
            temperature=combination[-2],
            seed=int(combination[-1]),
            training=own if method.is_offline else None,
        )


def _check(method: Method, key: str, name: str, value: float) -> None:
    """Raise ValueError for a value that the method would refuse; of a TQR the run's rest counts."""
    if isinstance(method, TqrMethod):
        return
    settings: type[FrozenConfig] = PpoConfig if method.is_online else BestOfN
    if isinstance(method, GroupMethod):
        settings = method.coefficients
    try:
        settings(**{name: value})
    except ValidationError as error:
        raise ValueError(f"{key} is {value}: {error.errors()[0]['msg']}") from None
