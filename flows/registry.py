"""Which flows there are, and how a name and a YAML file become a checked configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from tasks.settings.base import FrozenConfig
from tasks.settings.errors import ConfigError, did_you_mean
from tasks.settings.loading import apply_overrides, load_config, validate

CONFIGS = Path(__file__).parent / "configs"


class FlowEntry(NamedTuple):
    """Where a flow and its configuration live; nothing is imported until it is asked for."""

    name: str
    """What the user types."""
    summary: str
    """One line for `sparring ls flows`."""
    module: str
    """Module of the flow; the flow has the flow's name in it."""
    config: tuple[str, str]
    """Module and class of its configuration."""
    preflight: tuple[str, str]
    """Module and function of what is checked before the first stage of a run."""
    default: str
    """The config in `flows/configs` that is used when none is given."""
    judge: tuple[str, str] = ("", "")
    """Module and function that measures a champion's policy as a candidate's run measured."""

    def flow(self) -> Any:
        """Return the Prefect flow."""
        return getattr(import_module(self.module), self.name)

    def check(self, config: FrozenConfig) -> None:
        """Raise ConfigError if a run with this configuration would fail for a reason known now."""
        module, name = self.preflight
        getattr(import_module(module), name)(config)

    def judge_champion(self, policy: Any, config: FrozenConfig, basis: Mapping[str, Any]) -> Any:
        """Return the evaluation of a champion's policy by the means of a candidate's run.

        Args:
            policy: The champion's.
            config: Of the run that made the candidate.
            basis: What that run measured with and against, by name.
        """
        return getattr(import_module(self.judge[0]), self.judge[1])(policy, config, basis)

    def config_class(self) -> type[FrozenConfig]:
        """Return the class that checks a configuration."""
        return getattr(import_module(self.config[0]), self.config[1])


FLOWS = {
    entry.name: entry
    for entry in (
        FlowEntry(
            "apo",
            "Adversarial Preference Optimization: the reward model and the policy spar",
            "flows.apo",
            ("flows.configs.apo", "ApoConfig"),
            ("flows.runs.preflight", "check_models"),
            "apo-tiny.yaml",
            ("flows.steps.apo_evaluation", "judge_champion"),
        ),
        FlowEntry(
            "exo",
            "Efficient Exact Optimization: exo, dpo, ppo and best-of-N on one frontier",
            "flows.exo",
            ("flows.configs.exo", "ExoConfig"),
            ("flows.runs.preflight", "check_models"),
            "exo-tiny.yaml",
            ("flows.steps.exo_evaluation", "judge_champion"),
        ),
    )
}

PROMOTION = FlowEntry(
    "promotion",
    "Compares a candidate with the champion and lets the gate decide",
    "flows.promotion",
    ("flows.promotion", "PromotionConfig"),
    ("flows.registry", "nothing_to_check"),
    "",
)
"""Run by `sparring promote` only, so it is in no list; its runs can be shown and resumed."""


def nothing_to_check(config: FrozenConfig) -> None:
    """Find no fault: all that a promotion needs was checked when it was asked for."""


def find_flow(name: str) -> FlowEntry:
    """Return the flow of this name.

    Raises:
        ConfigError: There is none; the known ones are listed.
    """
    if name == PROMOTION.name:
        return PROMOTION
    if name not in FLOWS:
        raise ConfigError(f"there is no flow {name!r}{did_you_mean(name, FLOWS)}")
    return FLOWS[name]


def find_config(entry: FlowEntry, given: Path | None) -> Path:
    """Return the config file: the given path, one of ours by name, or the flow's default.

    Args:
        entry: The flow.
        given: A path, or the name of a file in `flows/configs` with or without `.yaml`.

    Raises:
        ConfigError: There is no such file; ours are listed.
    """
    if given is None and not entry.default:
        raise ConfigError(f"{entry.name} has no config of its own: `sparring promote` starts it")
    if given is None:
        return CONFIGS / entry.default
    if given.is_file():
        return given
    ours = {path.stem: path for path in sorted(CONFIGS.glob("*.yaml"))}
    if given.name == str(given) and given.stem in ours:
        return ours[given.stem]
    known = did_you_mean(given.stem, ours)
    raise ConfigError(f"there is no config file '{given}'{known}")


def read_config(entry: FlowEntry, given: Path | None, overrides: Sequence[str]) -> FrozenConfig:
    """Read, override and check a configuration.

    Args:
        entry: The flow.
        given: The file, or None for the default.
        overrides: `a.b=c` each.

    Raises:
        ConfigError: One line per problem.
    """
    path = find_config(entry, given)
    tree = apply_overrides(load_config(path), overrides)
    return validate(entry.config_class(), tree, str(path))


def config_headers() -> dict[str, str]:
    """Return the first comment line of each config in `flows/configs`, by file name."""
    headers = {}
    for path in sorted(CONFIGS.glob("*.yaml")):
        first = path.read_text(encoding="utf-8").splitlines()[0]
        headers[path.name] = first.removeprefix("#").strip()
    return headers
