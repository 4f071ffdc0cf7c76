"""A policy too small for its optimum: what EXO keeps of it and what DPO does (EXO's Figure 1).

    python benchmarks/mode_seeking.py --folder mode-seeking [--responses 64] [--seeds 0 1 2]

A response is one of 161 points of a line. The optimum has two humps; the policy is one normal
distribution, of which mean and width are trained, with this project's losses, on groups of K
responses drawn from a wide reference. Printed per loss, over the seeds: where the policy ends, how
much of it lies on each hump and between them, and its divergence from the optimum in both
directions; beside it the best policy of the class in each direction, found by search. The first
seed's densities are drawn: figure-1.png, .svg and .csv.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tasks.evaluation.report import figure_style as style
from tasks.objectives.dpo import dpo_rw
from tasks.objectives.exo import exo_rw, optimal_logps

POINTS = torch.linspace(-4, 4, 161, dtype=torch.float64)
HUMPS = ((0.7, -1.5), (0.3, 1.5))
"""Weight and place of each hump of the optimum. With 0.6 and 0.4 the reverse divergence has a local
minimum at a wide policy too, and from a wide start both EXO and exact descent end there."""
WIDTH = 0.4
"""Standard deviation of a hump."""
BETA_R = 0.5
"""Reward units per nat; beta_pi is 1, so that it is beta as well."""
LOSSES = {"EXO-rw": exo_rw, "DPO-rw": dpo_rw}


@dataclass(frozen=True)
class Measured:
    """Where a policy of the class ended."""

    place: float
    """Its mean."""
    width: float
    """Its standard deviation."""
    reverse: float
    """KL(policy || optimum), nats."""
    forward: float
    """KL(optimum || policy), nats."""
    on_first: float
    """Share of the policy within two standard deviations of the larger hump."""
    on_second: float
    """The same for the smaller hump."""
    between: float
    """Share between the two, where the optimum has next to nothing."""


def normal(place: Tensor, log_width: Tensor) -> Tensor:
    """Return log-probabilities of a normal distribution on the points. Shape (N,)."""
    return (-0.5 * ((POINTS - place) / log_width.exp()) ** 2).log_softmax(-1)


def reference() -> Tensor:
    """Return log-probabilities of the wide policy that responses are drawn from. Shape (N,)."""
    return normal(torch.zeros((), dtype=torch.float64), torch.tensor(2.0).double().log())


def rewards() -> Tensor:
    """Return the reward of each point, which makes the two humps the optimum. Shape (N,)."""
    humps = sum(
        weight * torch.exp(-0.5 * ((POINTS - place) / WIDTH) ** 2) for weight, place in HUMPS
    )
    assert isinstance(humps, Tensor)
    return BETA_R * (humps.log() - reference())


def optimum() -> Tensor:
    """Return log-probabilities of the policy that reward and KL penalty ask for. Shape (N,)."""
    return optimal_logps(reference()[None], rewards()[None], beta=BETA_R)[0]


def fit(name: str, *, responses: int, seed: int, steps: int = 1000, groups: int = 64) -> Measured:
    """Train mean and width from the reference's on, and measure the result.

    Args:
        name: a key of LOSSES.
        responses: K, drawn from the reference for each group.
        seed: of what is drawn.
        steps: of Adam, with the rate falling to 0.
        groups: groups per step, each drawn anew.
    """
    generator = torch.Generator().manual_seed(seed)
    start, reward = reference(), rewards()
    place = torch.zeros((), dtype=torch.float64, requires_grad=True)
    log_width = torch.tensor(math.log(2.0), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([place, log_width], lr=0.03)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        drawn = torch.multinomial(
            start.exp().expand(groups, -1), responses, replacement=True, generator=generator
        )
        policy = normal(place, log_width)
        loss = LOSSES[name](policy[drawn], start[drawn], reward[drawn], beta_pi=1.0, beta_r=BETA_R)
        optimiser.zero_grad()
        loss.mean().backward()
        optimiser.step()
        schedule.step()
    return measure(place.detach(), log_width.detach())


def search(direction: str) -> Measured:
    """Return the best policy of the class in one direction of divergence, by trying a grid.

    Args:
        direction: "reverse" (what EXO minimises) or "forward" (what DPO minimises).
    """
    tried = [
        measure(place, width.log())
        for place in torch.linspace(-3, 3, 121, dtype=torch.float64)
        for width in torch.linspace(0.2, 3, 57, dtype=torch.float64)
    ]
    return min(tried, key=lambda found: float(getattr(found, direction)))


def measure(place: Tensor, log_width: Tensor) -> Measured:
    """Compare a policy of the class with the optimum."""
    policy, best = normal(place, log_width), optimum()
    share = policy.exp()
    first, second = (share[(POINTS - hump).abs() <= 2 * WIDTH].sum() for _, hump in HUMPS)
    inner = (POINTS > HUMPS[0][1] + 2 * WIDTH) & (POINTS < HUMPS[1][1] - 2 * WIDTH)
    return Measured(
        float(place),
        float(log_width.exp()),
        float((share * (policy - best)).sum()),
        float((best.exp() * (best - policy)).sum()),
        float(first),
        float(second),
        float(share[inner].sum()),
    )


def draw(found: dict[str, Measured], folder: Path) -> list[Path]:
    """Draw the optimum and what each loss made of the class, as densities."""
    step = float(POINTS[1] - POINTS[0])
    lines = {"optimum": optimum(), "reference": reference()}
    for name, ended in found.items():
        place, width = (torch.tensor(value).double() for value in (ended.place, ended.width))
        lines[name] = normal(place, width.log())
    densities = {name: (line.exp() / step).tolist() for name, line in lines.items()}
    with style.new_figure({"figure 1": None}, panel=(5.4, 3.0), columns=1) as (figure, panels):
        axes = panels[0]
        axes.fill_between(POINTS, densities["optimum"], color="#d5d5d5", label="optimum", zorder=1)
        axes.plot(POINTS, densities["reference"], ":", color=style.GREY, label="reference")
        for index, name in enumerate(found):
            colour = style.COLOURS[index]
            axes.plot(POINTS, densities[name], color=colour, linewidth=1.5, label=name)
        axes.set_title("one normal distribution for an optimum with two humps")
        axes.set_xlabel("response")
        axes.set_ylabel("density")
        style.shared_legend(figure, panels)
        rows = [
            {"response": point} | {name: line[index] for name, line in densities.items()}
            for index, point in enumerate(POINTS.tolist())
        ]
        return style.save_figure(figure, folder, "figure-1", rows)


def table(found: dict[str, list[Measured]]) -> str:
    """Return the figures as a markdown table, means over seeds."""
    heads = "mean, standard deviation, KL(policy || optimum), KL(optimum || policy)"
    heads += ", on the larger hump, on the smaller, between"
    lines = [f"| policy | {' | '.join(heads.split(', '))} |", "|---" * 8 + "|"]
    for name, ended in found.items():
        values = [mean(column) for column in zip(*map(_values, ended), strict=True)]
        lines.append(f"| {name} | " + " | ".join(f"{value:.3f}" for value in values) + " |")
    return "\n".join(lines)


def _values(ended: Measured) -> list[float]:
    return list(vars(ended).values())


def main() -> None:
    """Fit, search, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="where the figure goes")
    parser.add_argument("--responses", type=int, default=64, help="K, responses per group")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    found = {
        name: [fit(name, responses=options.responses, seed=seed) for seed in options.seeds]
        for name in LOSSES
    }
    best = {f"best by {d} KL": [search(d)] for d in ("reverse", "forward")}
    print(table(found | best))
    for path in draw({name: ended[0] for name, ended in found.items()}, options.folder):
        print(path)


if __name__ == "__main__":
    main()
