"""The policy methods by name. A new method is a new file and a line here."""

from __future__ import annotations

from tasks.settings.errors import ConfigError, did_you_mean
from tasks.training.methods.dpo import DPO
from tasks.training.methods.dpo_rw import DPO_RW
from tasks.training.methods.exo_pref import EXO_PREF
from tasks.training.methods.exo_rw import EXO_RW
from tasks.training.methods.method import Method
from tasks.training.methods.rjs import RJS
from tasks.training.methods.rrhf import RRHF
from tasks.training.methods.sft import SFT

_ALL = (RJS, RRHF, DPO, SFT, EXO_PREF, DPO_RW, EXO_RW)
METHODS: dict[str, Method] = {method.name: method for method in _ALL}
_BY_ANY_NAME = METHODS | {alias: method for method in METHODS.values() for alias in method.aliases}


def get_method(name: str) -> Method:
    """Return the policy method of this name or alias.

    Raises:
        ConfigError: there is none; the message lists the known ones.

    Example:
        >>> get_method("raft").name
        'rjs'
    """
    if name not in _BY_ANY_NAME:
        known = sorted(_BY_ANY_NAME)
        raise ConfigError(f"unknown policy method {name!r}{did_you_mean(name, known)}")
    return _BY_ANY_NAME[name]


def selecting_like(name: str) -> str:
    """Return the first method that learns from the same responses as this one.

    Methods that select alike read the same log-probabilities of a reference.

    Raises:
        ConfigError: there is no such method.

    Example:
        >>> selecting_like("exo_pref")
        'dpo'
    """
    select = get_method(name).select
    return next(method.name for method in METHODS.values() if method.select is select)
