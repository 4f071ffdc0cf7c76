"""TQRs among the models that a run goes on from: refused early where it cannot."""

from __future__ import annotations

import math

from tasks.models.tqr.config import TqrConfig
from tasks.models.tqr.marker import parse_settings, tqr_config
from tasks.settings.errors import ConfigError
from tasks.stages.artifact import EXTERNAL, Artifact
from tasks.stages.manifest import load_manifest
from tasks.storage.home import current_home


def tqr_of(model: Artifact) -> TqrConfig | None:
    """Return the settings of the TQR that a model is; None where it is another, or only planned.

    Its files may lie on the remote still.

    Raises:
        ConfigError: It is a TQR of another version.
    """
    if model.stage == EXTERNAL:
        return tqr_config(model.path)
    if model.stage != "update_tqr" or model.is_pending:
        return None
    made = load_manifest(current_home(), model.stage, model.key)
    if made is None:
        return None
    return parse_settings(lambda: made.config["tqr"], f"{model.label} ({model.stage})")


def require_settings(model: Artifact, wanted: TqrConfig, key: str) -> None:
    """Refuse a TQR that a training by AVA cannot go on from; any other model gets fresh heads.

    Args:
        model: What the training begins with.
        wanted: The settings of the TQR that is trained.
        key: What says them in the configuration.

    Raises:
        ConfigError: It is a TQR of other settings, or one that is no policy.
    """
    found = tqr_of(model)
    if found is None:
        return
    if not found.ptq:
        raise ConfigError(
            f"{model.label} is a TQR without ptq, which has no policy to train on with its "
            "rewards: give one with ptq, or leave it out to start from a policy"
        )
    differ = {
        f"{name} {value}": getattr(found, name)
        for name, value in wanted
        if getattr(found, name) != value
    }
    if differ:
        raise ConfigError(
            f"{model.label} is a TQR of other settings than {key} says: "
            f"{', '.join(f'{ours}, and its own is {own}' for ours, own in differ.items())}; give "
            "them alike to go on from it, or start from a policy"
        )


def require_temperature(model: Artifact, temperature: float) -> None:
    """Refuse a policy that is to be drawn from at another temperature than the run draws at.

    Args:
        model: What policies are trained from, or compared with.
        temperature: At which the run trains them and measures their KL.

    Raises:
        ConfigError: It is a TQR whose Q values are those of another temperature.
    """
    found = tqr_of(model)
    if found and not math.isclose(found.temperature, temperature):
        raise ConfigError(
            f"{model.label} is a TQR whose policy is drawn from at temperature "
            f"{found.temperature:g} (its alpha is {found.alpha:g}), and this run trains and "
            f"measures policies at {temperature:g}: set the run's temperature so, or name another "
            "model"
        )
