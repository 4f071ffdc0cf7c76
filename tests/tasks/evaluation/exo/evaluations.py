"""What the evaluations of an EXO run left behind, made up so that the answers are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tasks.evaluation.exo.config import ExoEntry, ExoReportConfig, MethodFacts
from tasks.evaluation.metrics.estimates import clustered_mean
from tasks.evaluation.metrics.judge_scores import classifier_accuracy, mean_spread
from tasks.storage.files import write_json
from tasks.training.methods.registry import METHODS

PROMPTS = 40
SAMPLES = 4
FACTS = {
    name: MethodFacts.model_validate(method, from_attributes=True)
    for name, method in METHODS.items()
}
"""What the flow tells the report of each method."""


def entry_of(method: str, name: str, **settings: Any) -> ExoEntry:
    """Return an entry of a branch; the settings named beta_* are its coefficients."""
    coefficients = {key: value for key, value in settings.items() if key.startswith("beta_")}
    return ExoEntry(
        name=name,
        kind="best_of_n" if method == "best_of_n" else "policy",
        method=method,
        coefficients=coefficients,
        **{key: value for key, value in settings.items() if key not in coefficients},
    )


def evaluation(
    reward: float, kl: float | None, seed: int, *, prompts: int = PROMPTS, samples: int = SAMPLES
) -> dict[str, Any]:
    """Return evaluation.json of a policy with this mean reward and KL.

    The oracle is noisy by prompt and by sample; the reward model sees the oracle and adds 1.
    """
    generator = np.random.default_rng(seed)
    # How hard a prompt is, is the same for every policy.
    hardness = np.random.default_rng(99).normal(size=PROMPTS)[:prompts, None]
    oracle = reward + hardness + generator.normal(size=(prompts, samples))
    model = oracle + 1 + 0.5 * generator.normal(size=(prompts, samples))
    per_prompt: dict[str, Any] = {
        f"p{row}": {
            "scores": {"oracle": oracle[row].tolist(), "RM": model[row].tolist()},
            "best": None,
        }
        for row in range(prompts)
    }
    scores = {"oracle": oracle.tolist(), "RM": model.tolist()}
    found: dict[str, Any] = {
        "queries": prompts,
        "habits": {"ended": 1.0},
        "per_prompt": per_prompt,
        "examples": [
            {"id": f"p{row}", "prompt": f"ask <b>{row}</b>", "response": f"{reward:.2f} of {row}"}
            for row in range(3)
        ],
    }
    for name, figure in (
        ("scores", clustered_mean),
        ("accuracies", classifier_accuracy),
        ("spreads", mean_spread),
    ):
        found[name] = {judge: asdict(figure(rows)) for judge, rows in scores.items()}
    if kl is not None:
        ratios = kl + 0.3 * generator.normal(size=(prompts, samples))
        found["kl"] = asdict(clustered_mean(ratios.tolist()))
        for row in range(prompts):
            per_prompt[f"p{row}"]["log_ratios"] = ratios[row].tolist()
    return found


@dataclass
class Made:
    """Entries and their evaluations."""

    entries: list[ExoEntry] = field(default_factory=list)
    evaluations: dict[str, Any] = field(default_factory=dict)

    def add(self, entry: ExoEntry, reward: float, kl: float | None = None, **more: int) -> None:
        """Add one contender."""
        self.entries.append(entry)
        seed = len(self.entries)
        self.evaluations[entry.name] = evaluation(reward, kl, seed, **more)

    def branch(
        self,
        method: str,
        frontier: Callable[[float], float],
        kls: tuple[float, ...],
        *,
        seeds: int = 3,
        **settings: Any,
    ) -> None:
        """Add the checkpoints of a branch, 10 steps apart, on a frontier of its own."""
        label = "-".join([method, *(f"{key}{value}" for key, value in settings.items())])
        for seed in range(seeds):
            for number, kl in enumerate(kls, start=1):
                entry = entry_of(
                    method,
                    f"{label}-seed{seed}-step{10 * number}",
                    seed=seed,
                    step=10 * number,
                    is_last=number == len(kls),
                    **settings,
                )
                self.add(entry, frontier(kl) + 0.05 * seed, kl * (1 + 0.02 * seed))

    def config(self, **more: Any) -> ExoReportConfig:
        """Return the report's settings."""
        return ExoReportConfig(
            entries=tuple(self.entries), methods=FACTS, reward_model="RM", **more
        )

    def save(self, folder: Path) -> dict[str, Path]:
        """Write every evaluation, and return the folders by name."""
        paths = {name: folder / f"evaluation-{row}" for row, name in enumerate(self.evaluations)}
        for name, path in paths.items():
            path.mkdir(parents=True)
            write_json(path / "evaluation.json", self.evaluations[name])
        return paths


def root(factor: float) -> Callable[[float], float]:
    """Return a concave frontier: reward = factor · √KL."""
    return lambda kl: factor * kl**0.5


def made_run() -> Made:
    """All methods, with EXO ahead of DPO, DPO-rw worse with K = 8, and PPO low."""
    made = Made()
    made.add(ExoEntry(name="sft", kind="start"), 0.0)
    made.add(ExoEntry(name="chosen", kind="chosen"), 0.7, samples=1)
    short, long = (0.4, 1.0, 1.8, 2.6), (0.8, 1.8, 3.2, 4.6)
    made.branch("exo_pref", root(1.6), short, beta_pi=0.1)
    made.branch("exo_pref", root(1.6), (0.2, 0.5, 0.8), beta_pi=0.5, seeds=1)
    made.branch("exo_pref", root(1.6), (1.2, 2.5, 4.0), beta_pi=0.05, seeds=1)
    made.branch("exo_rw", root(2.1), long, beta_pi=0.1, beta_r=0.1, responses=4)
    made.branch("exo_rw", root(2.15), long, beta_pi=0.1, beta_r=0.1, responses=8)
    made.branch("dpo", root(1.0), short, beta_pi=0.1)
    made.branch("dpo_rw", root(1.7), short, beta_pi=0.1, beta_r=0.1, responses=4)
    made.branch("dpo_rw", root(1.2), long, beta_pi=0.1, beta_r=0.1, responses=8)
    made.branch("ppo", lambda kl: 1.3 * kl**0.5 - 0.05 * kl**2, (0.5, 2.0, 4.0, 6.5))
    made.branch("sft", lambda kl: 0.3, (0.1, 0.3), seeds=1)
    for n, reward in ((2, 0.5), (8, 1.4), (32, 2.3), (128, 3.1)):
        entry = entry_of("best_of_n", f"best-of-{n}", responses=n)
        made.add(entry, reward, samples=1 if n == 128 else 4)
    return made


def made_density(folder: Path, names: tuple[str, ...], beta: float = 1.0) -> Path:
    """Write a density.json of eight prompts with 60 samples each."""
    from tasks.data.groups import Group, Message
    from tasks.evaluation.exo.config import DensityConfig
    from tasks.evaluation.exo.density import prompt_density
    from tasks.evaluation.metrics.density_ratio import Distance
    from tasks.models.tokens.encoding import Limits

    generator = np.random.default_rng(0)
    betas = dict.fromkeys(names, beta)
    config = DensityConfig(limits=Limits(), template=None, betas=betas)
    prompts = []
    for row in range(8):
        start = generator.normal(-150, 30, size=60)
        rewards = generator.normal(size=60) + (start + 150) / 40
        group = Group(
            (Message("user", f"This Fox spectacle was a big hit when released in {row}"),),
            tuple(map(str, range(60))),
            tuple(rewards),
        )
        logps = {
            name: list(start + rewards * (1 - 0.5 * k) + 0.3 * generator.normal(size=60))
            for k, name in enumerate(names)
        }
        prompts.append(prompt_density(group, list(start), logps, config))
    figures = Distance.__dataclass_fields__
    summary = {
        name: {
            figure: asdict(clustered_mean([[one["distances"][name][figure]] for one in prompts]))
            for figure in figures
        }
        for name in names
    }
    folder.mkdir(parents=True)
    kept = {"betas": betas, "prompts": prompts, "summary": summary}
    write_json(folder / "density.json", kept)
    return folder
