"""The configuration of a user, made small enough to run whole in minutes.

Nothing is replaced that a run could stumble over: sources are read as they are written, with their
columns, filters and limits; templates, lengths, objectives, branches and seeds stay. What is cut is
how much: rows, steps, samples, and the size of models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple, TypeVar

from flows.configs.apo import ApoConfig, PolicyUpdates
from flows.configs.apo_evaluation import ApoEvaluation
from flows.configs.ava import AvaConfig
from flows.configs.base import FlowConfig
from flows.configs.branches.exo_sweep import SweepConfig
from flows.configs.exo import ExoConfig
from flows.configs.exo_evaluation import DensitySettings, ExoEvaluation, PpoSearch
from flows.configs.placement import Placement
from flows.configs.recurring import RecurringConfig, StartConfig
from tasks.data.config import DataConfig
from tasks.data.sources.config import SourceConfig
from tasks.data.splits import SplitConfig
from tasks.data.text_config import TextsConfig
from tasks.evaluation.config import BestOfN
from tasks.gold.collection import GoldConfig
from tasks.models.architecture import ArchitectureConfig
from tasks.models.sampling.config import SamplingConfig
from tasks.models.tokens.text_prompts import BeginningsConfig
from tasks.settings.base import FrozenConfig
from tasks.settings.parts import with_parts
from tasks.training.config import TrainingConfig
from tasks.training.methods.method import RESPONSES
from tasks.training.ppo.config import PpoConfig
from tasks.training.scale import TrainingScale
from tasks.training.updates.classifier_config import ClassifierConfig

Config = TypeVar("Config", bound=FrozenConfig)
Update = dict[str, Any]


class Smallness(NamedTuple):
    """How small a configuration becomes."""

    rows: int = 128
    """First rows that are read of each file or subset; groups of a source that has a limit."""
    prompts: int = 8
    """Prompts that are answered, at each place that says how many."""
    samples: int = 8
    """Most responses per prompt."""
    new_tokens: int = 16
    """Longest sampled response."""
    steps: int = 2
    """Optimiser steps of each training."""
    batch: int = 4
    """Groups, or prompts, of one step."""
    processes: int = 2
    """Most processes that train together, on one machine."""


def shrink_data(config: Config, small: Smallness) -> Config:
    """Return a configuration that reads few rows and is otherwise the user's."""
    found: Config = _changed(config, partial(_data_update, small=small))
    if isinstance(found, RecurringConfig):
        # Their names and digests are of whole files and of another store.
        own: Update = {"inputs": {}, "start": StartConfig(), "schedule": None}
        if isinstance(found, FlowConfig):
            own |= {"judge": None, "human_evaluation": None}  # nobody is paid or asked
        found = _asking_nobody(found.model_copy(update=own))
    return found


def _asking_nobody(config: Config) -> Config:
    """Return a configuration that asks nobody: chosen answers stand in for gold, no one judges."""
    fields = ("judge", "human_evaluation")
    free: Update = {name: None for name in fields if getattr(config, name, None)}
    gold, data = getattr(config, "gold", None), getattr(config, "data", None)
    is_asked = isinstance(gold, GoldConfig) and gold.provider in ("server", "people")
    if gold is not None and is_asked and data is not None:
        nobody = {"provider": "chosen", "server": None, "people": None}
        free["gold"] = gold.model_copy(update=nobody)
        # The pairs answer their own prompts alone.
        free["data"] = data.model_copy(update={"rm_queries": []})
    return config.model_copy(update=free)


def shrink_work(config: Config, small: Smallness, *, placed: bool = False) -> Config:
    """Return a configuration whose every stage takes seconds; its data are left as they are.

    Args:
        config: A flow's.
        small: How much is left.
        placed: Whether stages still go where `placement` says; else all of them run here.

    Raises:
        ConfigError: The small configuration is none that the flow would take.
    """
    found: Config = _changed(config, partial(_work_update, small=small))
    if not placed and "placement" in type(found).model_fields:
        found = found.model_copy(update={"placement": Placement()})
    return type(found).model_validate(found.model_dump(mode="json"))


def _changed(value: Any, update: Callable[[FrozenConfig], Update]) -> Any:
    """Return a part of a configuration with every part of it changed, the inner ones first."""
    changed = with_parts(value, partial(_changed, update=update))
    if isinstance(changed, FrozenConfig):
        return changed.model_copy(update=update(changed))
    return changed


def _data_update(config: FrozenConfig, small: Smallness) -> Update:
    if isinstance(config, TextsConfig):
        # A split that is sorted by label shows one of them first: these are taken as a part is.
        labelled = {"labelled": config.labelled, "held_out": config.held_out}
        return {
            name: [
                one.model_copy(update={"rows": None, "limit": _most(one.limit, small.rows)})
                for one in sources
            ]
            for name, sources in labelled.items()
        }
    if isinstance(config, DataConfig) and config.playground is not None:
        # Its files are sources that nobody named.
        found = config.resolved()
        return {
            name: [one.model_copy(update=_data_update(one, small)) for one in value]
            for name in DataConfig.model_fields
            if isinstance(value := getattr(found, name), list)
        }
    if isinstance(config, SourceConfig):
        # How a part is taken is the user's, and may be what is wrong.
        if config.limit is not None:
            return {"limit": min(config.limit, small.rows)}
        return {"rows": _most(config.rows, small.rows)}
    if isinstance(config, SplitConfig):
        return {
            # None and 0 say that a flow's reward model has a share of its own kind.
            "rm_share": config.rm_share and min(max(config.rm_share, 0.35), 0.6),
            "dev_share": max(config.dev_share, 0.3),
            "test_share": max(config.test_share, 0.2),
        }
    if isinstance(config, GoldConfig):
        return {"dev_share": max(config.dev_share, 0.3)}
    return {}


def _work_update(config: FrozenConfig, small: Smallness) -> Update:
    for kind, rule in _RULES.items():
        if isinstance(config, kind):
            found: Update = rule(config, small)
            return found
    # The K of a method that learns from K responses.
    wanted = getattr(config, RESPONSES, None)
    return {RESPONSES: min(wanted, small.samples)} if wanted else {}


def _training(config: TrainingConfig, small: Smallness) -> Update:
    return {
        "max_steps": _most(config.max_steps, small.steps),
        "batch_size": max(min(config.batch_size, small.batch), min(config.processes, 2)),
        "snapshots": min(config.snapshots, small.steps),
        **_scale(config, small),
        "save_every": 1,
        "logging_steps": 1,
    }


def _scale(config: TrainingScale, small: Smallness) -> Update:
    layers = config.trainable_layers
    return {
        "processes": min(config.processes, small.processes),
        "nodes": 1,
        # A small model has fewer.
        "trainable_layers": None if layers is None else 1,
    }


def _ppo(config: PpoConfig, small: Smallness) -> Update:
    prompts = max(min(config.prompts_per_step, small.batch), min(config.processes, small.processes))
    return {
        **_scale(config, small),
        "total_steps": small.steps,
        "prompts_per_step": prompts,
        "samples": min(config.samples, 2),
        "ppo_epochs": min(config.ppo_epochs, 2),
        "minibatches": min(config.minibatches, prompts),
        "critic_warmup_steps": min(config.critic_warmup_steps, small.steps - 1),
        "snapshots": min(config.snapshots, small.steps),
        "save_every": 1,
    }


def _search(config: PpoSearch, small: Smallness) -> Update:
    most = {
        "critic_warmup_steps": small.steps - 1,
        "total_steps": small.steps,
        "prompts_per_step": small.batch,
    }
    cut = {
        name: tuple(dict.fromkeys(min(value, limit) for value in getattr(config, name)))
        for name, limit in most.items()
    }
    prompts = min(config.prompts, small.prompts)
    return {**cut, "trials": min(config.trials, 2), "prompts": prompts}


def _sampling(config: SamplingConfig, small: Smallness) -> Update:
    return {
        "max_new_tokens": min(config.max_new_tokens, small.new_tokens),
        "samples": min(config.samples, small.samples),
    }


def _sweep(config: SweepConfig, small: Smallness) -> Update:
    wanted = config.coefficients.get(RESPONSES, ())
    return {RESPONSES: _distinct(wanted, small.samples)} if wanted else {}


def _exo(config: ExoConfig, small: Smallness) -> Update:
    # Two that differ in what was cut alone have become one.
    sweeps = [
        one for place, one in enumerate(config.branches) if one not in config.branches[:place]
    ]
    return {"max_queries": _most(config.max_queries, 2 * small.prompts), "branches": sweeps}


def _exo_evaluation(config: ExoEvaluation, small: Smallness) -> Update:
    return {
        "prompts": min(config.prompts, small.prompts),
        "samples": min(config.samples, 2),
        "snapshot_prompts": _most(config.snapshot_prompts, small.prompts // 2),
        "bootstrap_samples": min(config.bootstrap_samples, 50),
        # Whatever the divergence is of models that know nothing, one of them is offered.
        "max_kl": None,
    }


def _apo_evaluation(config: ApoEvaluation, small: Smallness) -> Update:
    return {
        "max_queries": _most(config.max_queries, small.prompts),
        "kl_queries": min(config.kl_queries, small.prompts),
        "kl_samples": min(config.kl_samples, 2),
        "bootstrap_samples": min(config.bootstrap_samples, 50),
    }


def _beginnings(config: BeginningsConfig, small: Smallness) -> Update:
    return {
        "train_prompts": _most(config.train_prompts, 3 * small.prompts),
        "dev_prompts": min(config.dev_prompts, small.prompts),
        "test_prompts": min(config.test_prompts, small.prompts),
    }


_RULES: dict[type[Any], Callable[[Any, Smallness], Update]] = {
    TrainingConfig: _training,
    PpoConfig: _ppo,
    PpoSearch: _search,
    SamplingConfig: _sampling,
    SweepConfig: _sweep,
    ExoEvaluation: _exo_evaluation,
    ApoEvaluation: _apo_evaluation,
    BeginningsConfig: _beginnings,
    DensitySettings: lambda config, small: {
        "prompts": min(config.prompts, 2),
        "samples": min(config.samples, small.samples),
    },
    ClassifierConfig: lambda config, small: {"least_accuracy": 0.0},
    ArchitectureConfig: lambda config, small: {"layers": min(config.layers, 2)},
    AvaConfig: lambda config, small: {"test_prompts": _most(config.test_prompts, small.prompts)},
    BestOfN: lambda config, small: {"n": min(config.n, small.samples), "most": min(config.most, 2)},
    ApoConfig: lambda config, small: {"apo_epochs": min(config.apo_epochs, 2)},
    PolicyUpdates: lambda config, small: {"max_queries": _most(config.max_queries, small.prompts)},
    ExoConfig: _exo,
}
"""What becomes of each part of a configuration; a new kind of work adds its rule here."""


def _most(given: int | None, limit: int) -> int:
    return limit if given is None else min(given, limit)


def _distinct(values: Iterable[float], limit: int) -> tuple[int, ...]:
    """Cut values to a limit without making two of them the same.

    Example:
        >>> _distinct((4, 16, 64), 8), _distinct((128,), 8)
        ((4, 7, 8), (8,))
    """
    ranked = sorted({int(value) for value in values}, reverse=True)
    cut = {value: min(value, limit - place) for place, value in enumerate(ranked)}
    return tuple(cut[int(value)] for value in values)
