"""The user's files and folders as inputs of a flow, so that their content is part of every key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from flows.configs.base import FlowConfig
from flows.configs.recurring import RecurringConfig
from flows.steps.hub_commits import hub_commits
from flows.steps.tqr_starts import require_temperature
from tasks.data.config import DataConfig
from tasks.data.playground.generator import ensure_playground
from tasks.data.text_config import TextsConfig
from tasks.initialise_policy import initialise_policy
from tasks.models.base_policy import PolicyModelConfig, hub_name
from tasks.models.tokens.own_template import TEMPLATE_FILES
from tasks.prepare_data import prepare_data
from tasks.settings.errors import ConfigError, require_path
from tasks.stages.artifact import Artifact, external_artifact
from tasks.stages.runs.context import current_run
from tasks.stages.runs.references import referenced_artifact

_MAKERS = {
    "policy": ("update_policy", "update_policy_by_ppo", "initialise_policy", "update_tqr"),
    "reward_model": ("update_reward_model", "update_tqr"),
}


def file_artifact(path: str | Path | None) -> Artifact | None:
    """Return a file or folder of the user's as an input; None where none is named.

    Raises:
        ConfigError: There is no such file or folder.
    """
    return None if path is None else _existing(path)


def model_artifact(name: str, template: str | None, label: str) -> Artifact:
    """Return a model that the config names: its folder as it lies, others as stored here.

    Raises:
        ConfigError: There is no such folder or file, and it can be no hub name.
    """
    hub, revision = hub_name(name)
    found = None if hub else _existing(name)
    if found and found.path.is_dir():
        return found
    settings = PolicyModelConfig(
        path=None if hub else name, hub=hub or None, revision=revision, template=template
    )
    return initialise_policy([], found, config=settings, seed=0, label=label)


def reward_base(config: FlowConfig) -> Artifact | None:
    """Return the model that `reward.base` names; None where reward models start from the policy.

    Raises:
        ConfigError: There is no such folder, and it can be no hub name.
    """
    base, template = config.reward.base, config.reward.template
    return model_artifact(base, template, "reward base") if base else None


def start_artifact(reference: str, role: str) -> Artifact:
    """Return the finished model, `STAGE/KEY`, that a run starts from as `start.ROLE` says.

    Raises:
        ConfigError: There is no such artifact, or it is no such model.
    """
    named = f"start.{role}"
    artifact = referenced_artifact(current_run().home, reference, f"start {role}", said_by=named)
    if artifact.stage not in _MAKERS[role]:
        raise ConfigError(
            f"{named} is the output of {artifact.stage}, and no {role.replace('_', ' ')}: name one "
            f"of {' or '.join(_MAKERS[role])}"
        )
    return artifact


def base_policy(config: FlowConfig, corpora: Sequence[Artifact] = ()) -> Artifact:
    """Return the base policy, or the finished one that `start.policy` names.

    Args:
        config: Says which.
        corpora: Folders of groups whose texts train the tokenizer of a built architecture.

    Raises:
        ConfigError: There is no such model, or it is a TQR whose policy has another temperature.
    """
    if config.start.policy:
        finished = start_artifact(config.start.policy, "policy")
        require_temperature(finished, config.policy_temperature)
        return finished
    texts = list(corpora) if config.model.architecture else []
    folder = file_artifact(config.model.path)
    return initialise_policy(texts, folder, config=config.model, seed=config.seed)


def prepared_data(config: FlowConfig, others: Iterable[Artifact] = ()) -> Artifact:
    """Return the prepared splits, without the records that a model's own template refuses.

    Args:
        config: Names the sources and the base policy.
        others: Further models of the run that use their own chat template.

    Raises:
        ConfigError: A file or a model is missing.
    """
    data = config.divided_data()
    own = [*others] if config.model.template else [base_policy(config), *others]
    templates = [part for model in own for part in _template_parts(model)]
    return prepare_data(source_artifacts(data), templates, config=data)


def input_digests(config: RecurringConfig) -> dict[str, str]:
    """Return the digest of every file and folder of the user's that a run would read, by path.

    What comes from the hub is there by its address, with its commit where the config has one.

    Raises:
        ConfigError: One is missing.
    """
    if playground := config.playground():
        ensure_playground(playground)
    digests = {path: _existing(path).digest for path in config.files()}
    return digests | hub_commits(config)


def check_inputs(config: RecurringConfig) -> None:
    """Refuse other data than the run was begun with, where its config says what that was.

    Raises:
        ConfigError: A file changed, came or went; it is named.
    """
    if not config.inputs:
        return
    found = input_digests(config)
    for path in sorted(found.keys() | config.inputs.keys()):
        now, then = found.get(path, "not there"), config.inputs.get(path, "not there")
        if now != then:
            raise ConfigError(
                f"{path} is {now}, and was {then} when this run was begun: put the old data back "
                "to finish this run; the next scheduled run takes the new data"
            )


def source_artifacts(config: DataConfig | TextsConfig) -> list[Artifact]:
    """Return every local file that a data configuration names, in the order of its keys.

    The playground's files are generated where they are missing. A hub data set has no file here;
    its name and commit are in the key through the config.

    Raises:
        ConfigError: A file is missing, or the playground's folder holds another playground.
    """
    if isinstance(config, DataConfig) and config.playground:
        ensure_playground(config.playground)
    return [external_artifact(path) for path in config.local_files()]


def oracle_artifact(config: DataConfig | None) -> Artifact | None:
    """Return the world that knows the true reward, where the data comes from the playground."""
    if config is None or config.playground is None:
        return None
    return external_artifact(Path(config.playground.folder) / "world.json")


def _template_parts(model: Artifact) -> list[Artifact]:
    """Return the files in which a model says how it writes conversations."""
    # A model that is only planned will have what `save_pretrained` writes.
    there = TEMPLATE_FILES[:2] if model.is_pending else {file.path for file in model.files()}
    return [model.part(name) for name in TEMPLATE_FILES if name in there]


def _existing(path: str | Path) -> Artifact:
    require_path(path)
    return external_artifact(Path(path))
