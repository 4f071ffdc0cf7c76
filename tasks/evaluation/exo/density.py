"""The density ratios of learned policies and of the optima they aim at: measured and kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tasks.data.files import read_groups
from tasks.data.groups import Group, scores_of
from tasks.evaluation.exo.config import DensityConfig
from tasks.evaluation.metrics.density_ratio import (
    Densities,
    Distance,
    density_ratio,
    kernel_density,
    log_weights,
    silverman,
    weight_distance,
)
from tasks.evaluation.metrics.estimates import mean_estimate
from tasks.evaluation.metrics.kl import sampled_logps
from tasks.settings.errors import ConfigError
from tasks.settings.log import Log
from tasks.storage.files import write_json

DENSITY = "density.json"


def measure_density(
    start: Path,
    policies: Mapping[str, Path],
    samples: Path,
    config: DensityConfig,
    output: Path,
    log: Log,
) -> dict[str, float]:
    """Weigh samples of the start by each policy and its optimum (`estimate_density_ratios`).

    Raises:
        ConfigError: A group is not scored or has fewer than two samples, or there is none.
    """
    groups = list(islice(read_groups(samples), config.prompts))
    _check(groups, samples)
    logps: dict[str, list[list[float]]] = {}
    for done, (name, folder) in enumerate({"": start, **policies}.items(), start=1):
        logps[name] = sampled_logps(
            folder, groups, config.template, config.limits, temperature=config.temperature
        )
        log.progress(done, len(policies) + 1, "policies")
    prompts = [
        prompt_density(group, logps[""][row], {name: logps[name][row] for name in policies}, config)
        for row, group in enumerate(groups)
    ]
    summary = {
        name: {
            metric: asdict(mean_estimate([one["distances"][name][metric] for one in prompts]))
            for metric in Distance.__dataclass_fields__
        }
        for name in policies
    }
    kept = {"betas": config.betas, "prompts": prompts, "summary": summary}
    write_json(output / DENSITY, kept)
    flat = {
        f"{name}/{metric}": estimate["value"]
        for name, metrics in summary.items()
        for metric, estimate in metrics.items()
    }
    return {"prompts": float(len(prompts)), **flat}


def prompt_density(
    group: Group,
    start_logps: Sequence[float],
    policy_logps: Mapping[str, Sequence[float]],
    config: DensityConfig,
) -> dict[str, Any]:
    """Return one prompt's density ratios and distances as plain values.

    The group holds M samples of the start with their rewards; log-probabilities are in nats.
    """
    places, rewards = np.array(start_logps), np.array(scores_of(group))
    weights = {name: log_weights(np.array(logps) - places) for name, logps in policy_logps.items()}
    optima = {optimum(beta): log_weights(rewards / beta) for beta in config.betas.values()}
    bandwidth = config.bandwidth or silverman(places)
    grid = np.linspace(places.min(), places.max(), config.grid)
    even = kernel_density(grid, places, np.full(len(places), 1 / len(places)), bandwidth)
    densities = {
        name: kernel_density(grid, places, np.exp(logs), bandwidth)
        for name, logs in {**optima, **weights}.items()
    }
    distances = {}
    for name, learned in weights.items():
        best = optimum(config.betas[name])
        drawn = Densities(grid, densities[name], densities[best])
        distances[name] = asdict(weight_distance(learned, optima[best], drawn))
    return {
        "id": group.id,
        "prompt": group.prompt[-1].content if group.prompt else "",
        "samples": len(places),
        "bandwidth": bandwidth,
        "grid": grid.tolist(),
        "ratios": {name: density_ratio(one, even).tolist() for name, one in densities.items()},
        "distances": distances,
    }


def optimum(beta: float) -> str:
    """Return the name of the optimal policy of a β among the density ratios."""
    return f"optimal, β = {beta:g}"


def _check(groups: Sequence[Group], samples: Path) -> None:
    if not groups:
        raise ConfigError(f"{samples} holds no group: the density ratio needs samples of the start")
    for group in groups:
        if group.scores is None or len(group.responses) < 2:
            raise ConfigError(
                f"group {group.title} of {samples} has {len(group.responses)} samples and "
                f"{'no' if group.scores is None else 'their'} scores: the density ratio needs at "
                "least two samples of the start per prompt, scored (score_responses)"
            )
