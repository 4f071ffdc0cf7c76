"""The density ratios of learned policies and the optimal one: measured, kept and drawn."""

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
    OPTIMAL,
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
from tasks.evaluation.report.figure_style import GREY, new_figure, save_figure, shared_legend
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
    """Weigh samples of the start by each policy and the optimal one (`estimate_density_ratios`).

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
    worth = asdict(mean_estimate([one["optimal_effective_samples"] for one in prompts]))
    kept = {"beta": config.beta, "optimal_effective_samples": worth}
    write_json(output / DENSITY, {**kept, "prompts": prompts, "summary": summary})
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
    places = np.array(start_logps)
    weights = {
        OPTIMAL: log_weights(np.array(scores_of(group)) / config.beta),
        **{name: log_weights(np.array(logps) - places) for name, logps in policy_logps.items()},
    }
    bandwidth = config.bandwidth or silverman(places)
    grid = np.linspace(places.min(), places.max(), config.grid)
    even = kernel_density(grid, places, np.full(len(places), 1 / len(places)), bandwidth)
    densities = {
        name: kernel_density(grid, places, np.exp(logs), bandwidth)
        for name, logs in weights.items()
    }
    distances = {
        name: weight_distance(
            weights[name],
            weights[OPTIMAL],
            Densities(grid, densities[name], densities[OPTIMAL]),
        )
        for name in policy_logps
    }
    return {
        "id": group.id,
        "prompt": group.prompt[-1].content if group.prompt else "",
        "samples": len(places),
        "bandwidth": bandwidth,
        "optimal_effective_samples": float(1 / np.exp(2 * weights[OPTIMAL]).sum()),
        "grid": grid.tolist(),
        "ratios": {name: density_ratio(one, even).tolist() for name, one in densities.items()},
        "distances": {name: asdict(distance) for name, distance in distances.items()},
    }


def density_plot(
    prompts: Sequence[Mapping[str, Any]],
    colours: Mapping[str, str],
    folder: Path,
    *,
    name: str,
) -> list[Path]:
    """Draw the density ratio to the start over log π_sft(y|x), a panel a prompt (Figures 3, 9)."""
    titles = {f"{row}": one for row, one in enumerate(prompts)}
    with new_figure(titles, panel=(3.5, 2.7), columns=3) as (figure, panels):
        for axes, one in zip(panels, prompts, strict=True):
            axes.plot(one["grid"], one["ratios"][OPTIMAL], "--", color="#000000", label=OPTIMAL)
            for policy in one["distances"]:
                colour = colours.get(policy, GREY)
                axes.plot(one["grid"], one["ratios"][policy], color=colour, label=policy)
            axes.axhline(1, color=GREY, linestyle=":", linewidth=1, zorder=1)
            axes.set_title(_short(one["prompt"]), fontsize=8)
            axes.set_xlabel(f"log π_sft(y|x), nats (kernel {one['bandwidth']:.2g})", fontsize=8)
            axes.set_ylabel("density ratio")
        shared_legend(figure, panels)
        rows = [
            {"id": one["id"], "policy": policy, "start_logp": place, "ratio": value}
            for one in prompts
            for policy, ratio in one["ratios"].items()
            for place, value in zip(one["grid"], ratio, strict=True)
        ]
        return save_figure(figure, folder, name, rows)


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


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 46 else flat[:44].rstrip() + " …"
