"""The policy methods by name. A new method is a new file and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from tasks.settings.errors import ConfigError, did_you_mean
from tasks.training.methods.ava import AVA_D, AVA_P
from tasks.training.methods.dpo import DPO, DPO_RW
from tasks.training.methods.exo import EXO_PREF, EXO_RW
from tasks.training.methods.method import GroupMethod, Method
from tasks.training.methods.rjs import RJS
from tasks.training.methods.rrhf import RRHF
from tasks.training.methods.sft import SFT
from tasks.training.methods.without_groups import BEST_OF_N, PPO

GROUP_METHODS: dict[str, GroupMethod] = {
    method.name: method for method in (RJS, RRHF, DPO, SFT, EXO_PREF, DPO_RW, EXO_RW)
}
"""The methods that are trained on groups of responses: those of `update_policy`."""
METHODS: dict[str, Method] = {
    **GROUP_METHODS,
    **{method.name: method for method in (AVA_P, AVA_D, PPO, BEST_OF_N)},
}
"""All methods."""

M = TypeVar("M", bound=Method)


def get_method(name: str) -> Method:
    """Return the policy method of this name or alias.

    Raises:
        ConfigError: There is none; the message lists the known ones.

    Example:
        >>> get_method("ppo").is_online
        True
    """
    return _find(METHODS, name)


def get_training_method(name: str) -> Method:
    """Return the method of this name or alias, of those that train a policy.

    Raises:
        ConfigError: There is none; the message lists the known ones.
    """
    return _find({key: method for key, method in METHODS.items() if method.trains}, name)


def get_group_method(name: str) -> GroupMethod:
    """Return the method of this name or alias that is trained on groups of responses.

    Raises:
        ConfigError: There is none; the message lists the known ones.

    Example:
        >>> get_group_method("raft").name
        'rjs'
    """
    return _find(GROUP_METHODS, name)


def selecting_like(name: str) -> str:
    """Return the first method that learns from the same responses as this one.

    Methods that select alike read the same log-probabilities of a reference.

    Raises:
        ConfigError: There is no such method.

    Example:
        >>> selecting_like("exo_pref")
        'dpo'
    """
    select = get_group_method(name).select
    return next(method.name for method in GROUP_METHODS.values() if method.select is select)


def _find(methods: Mapping[str, M], name: str) -> M:
    by_name = {known: one for one in methods.values() for known in (one.name, *one.aliases)}
    if name not in by_name:
        known = did_you_mean(name, sorted(by_name))
        raise ConfigError(f"unknown policy method {name!r}{known}")
    return by_name[name]
