"""Which flows there are, and how a name and a YAML file become a checked configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.settings.base import FrozenConfig
from tasks.settings.errors import ConfigError, did_you_mean
from tasks.settings.loading import apply_overrides, load_config, validate
from tasks.stages.runs import states

if TYPE_CHECKING:
    from prefect import Flow

    from tasks.stages.artifact import Artifact

CONFIGS = Path(__file__).parent / "configs"


class FlowEntry(NamedTuple):
    """A flow by name; what is heavy is imported only when one of its functions is called."""

    name: str
    """What the user types."""
    summary: str
    """One line for `sparring ls flows`."""
    config_class: Callable[[], type[FrozenConfig]]
    """Returns the class that checks a configuration."""
    default: str = ""
    """The config in `flows/configs` that is used when none is given."""
    judge_champion: Callable[..., Artifact] | None = None
    """Returns the evaluation of a champion's policy, measured as a candidate's run measured: by its
    config, with what it offered; a name makes it another policy. None: the flow makes no
    candidates."""
    for_pairs: str = ""
    """The config in `flows/configs` that `sparring init` fits to pairs of the user's; it may be
    empty."""

    @property
    def entrypoint(self) -> str:
        """Where Prefect finds the flow, in the form of its deployments: `flows.apo.apo`."""
        return f"flows.{self.name}.{self.name}"

    def flow(self) -> Flow[..., Artifact]:
        """Return the Prefect flow."""
        from prefect.flows import load_flow_from_entrypoint

        return load_flow_from_entrypoint(self.entrypoint, use_placeholder_flow=False)


def _apo_config() -> type[FrozenConfig]:
    from flows.configs.apo import ApoConfig

    return ApoConfig


def _exo_config() -> type[FrozenConfig]:
    from flows.configs.exo import ExoConfig

    return ExoConfig


def _ava_config() -> type[FrozenConfig]:
    from flows.configs.ava import AvaConfig

    return AvaConfig


def _promotion_config() -> type[FrozenConfig]:
    from flows.configs.promotion import PromotionConfig

    return PromotionConfig


def _judge_config() -> type[FrozenConfig]:
    from flows.configs.judge import JudgeRunConfig

    return JudgeRunConfig


def _judge_apo(
    policy: Artifact, config: Any, basis: Mapping[str, Artifact], name: str = "champion"
) -> Artifact:
    from flows.steps.apo_evaluation import judge_champion

    return judge_champion(policy, config, basis, name)


def _judge_exo(
    policy: Artifact, config: Any, basis: Mapping[str, Artifact], name: str = "champion"
) -> Artifact:
    from flows.steps.exo_evaluation import judge_champion

    return judge_champion(policy, config, basis, name)


def _judge_ava(
    policy: Artifact, config: Any, basis: Mapping[str, Artifact], name: str = "champion"
) -> Artifact:
    from flows.steps.ava.arm_evaluation import judge_champion

    return judge_champion(policy, config, basis, name)


FLOWS = {
    entry.name: entry
    for entry in (
        FlowEntry(
            "apo",
            "Adversarial Preference Optimization: the reward model and the policy spar",
            _apo_config,
            "apo-tiny.yaml",
            _judge_apo,
            "apo-pairs.yaml",
        ),
        FlowEntry(
            "exo",
            "Efficient Exact Optimization: exo, dpo, ppo and best-of-N on one frontier",
            _exo_config,
            "exo-tiny.yaml",
            _judge_exo,
            "exo-pairs.yaml",
        ),
        FlowEntry(
            "ava",
            "Approximated Variational Alignment: rewards of tokens, from pairs or demonstrations",
            _ava_config,
            "ava-tiny.yaml",
            _judge_ava,
            "ava-pairs.yaml",
        ),
    )
}

PROMOTION = FlowEntry(
    states.PROMOTION,
    "Compares a candidate with the champion and lets the gate decide",
    _promotion_config,
)
"""Run by `sparring promote` only, so it is in no list; its runs can be shown and resumed."""
JUDGE = FlowEntry(
    states.JUDGE, "Lets a language model compare two sides' answers pair by pair", _judge_config
)
"""Run by `sparring judge` only, as `PROMOTION`."""
_UNLISTED = {one.name: one for one in (PROMOTION, JUDGE)}


def find_flow(name: str) -> FlowEntry:
    """Return the flow of this name.

    Raises:
        ConfigError: There is none; the known ones are listed.
    """
    if name in _UNLISTED:
        return _UNLISTED[name]
    if name not in FLOWS:
        raise ConfigError(f"there is no flow {name!r}{did_you_mean(name, FLOWS)}")
    return FLOWS[name]


def recorded_flow(name: str) -> FlowEntry:
    """Return the flow of a run or an alias, whose name may have a project before it: `search.apo`.

    Raises:
        ConfigError: There is none; the known ones are listed.
    """
    return find_flow(states.project_of(name)[1])


def find_config(entry: FlowEntry, given: Path | None) -> Path:
    """Return the config file: the given path, one of ours by name, or the flow's default.

    Raises:
        ConfigError: There is no such file; ours are listed.
    """
    if given is None and not entry.default:
        verb = "judge" if entry is JUDGE else "promote"
        raise ConfigError(f"{entry.name} has no config of its own: `sparring {verb}` starts it")
    if given is None:
        return CONFIGS / entry.default
    return given if given.is_file() else ready_config(str(given))


def ready_config(name: str) -> Path:
    """Return one of the configs in `flows/configs` by its name.

    Raises:
        ConfigError: There is none; ours are listed.
    """
    ours = {path.stem: path for path in sorted(CONFIGS.glob("*.yaml"))}
    stem = Path(name).stem
    if Path(name).name == name and stem in ours:
        return ours[stem]
    raise ConfigError(f"there is no config file '{name}'{did_you_mean(stem, ours)}")


def read_config(entry: FlowEntry, given: Path | None, overrides: Sequence[str]) -> FrozenConfig:
    """Read, override and check a configuration, named as for `find_config`.

    Raises:
        ConfigError: One line per problem.
    """
    path = find_config(entry, given)
    tree = apply_overrides(load_config(path), overrides)
    return _with_whole_start(validate(entry.config_class(), tree, str(path)))


def read_any_config(given: Path, overrides: Sequence[str] = ()) -> tuple[FlowEntry, FrozenConfig]:
    """Read and check a configuration of the flow that has its keys.

    Raises:
        ConfigError: One line per problem.
    """
    tree = load_config(given if given.is_file() else ready_config(str(given)))
    entry = min(FLOWS.values(), key=lambda one: len(tree.keys() - one.config_class().model_fields))
    return entry, read_config(entry, given, overrides)


def _with_whole_start(config: FrozenConfig) -> FrozenConfig:
    """Return a configuration that names the models to start from by their keys, which stay."""
    from flows.configs.recurring import RecurringConfig, StartConfig
    from tasks.stages.runs.naming import find_model
    from tasks.storage.home import current_home

    if not isinstance(config, RecurringConfig) or config.start == StartConfig():
        return config
    home = current_home()
    start = {role: name and find_model(home, name, role) for role, name in config.start}
    return config.model_copy(update={"start": StartConfig(**start)})


def config_headers() -> dict[str, str]:
    """Return the first comment line of each config in `flows/configs`, by file name."""
    headers = {}
    for path in sorted(CONFIGS.glob("*.yaml")):
        first = path.read_text(encoding="utf-8").splitlines()[0]
        headers[path.name] = first.removeprefix("#").strip()
    return headers
