"""Best-of-N: what picking the best of N samples costs in KL, and the picking."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from tasks.data.files import read_groups, write_groups
from tasks.data.groups import Group, scores_of
from tasks.data.selection import keep_responses
from tasks.evaluation.config import BestOfN
from tasks.settings.errors import ConfigError
from tasks.settings.log import Log


def best_of_n_kl(n: int) -> float:
    """Return KL(best of n ‖ the sampled policy) in nats, log n − (n − 1) / n; less if samples tie.

    Raises:
        ValueError: If n is below 1.

    Source:
        Beirami et al. (2024), arXiv 2401.01879, who show the usual formula to be a bound.

    Example:
        >>> best_of_n_kl(1), round(best_of_n_kl(128), 3)
        (0.0, 3.86)
    """
    if n < 1:
        raise ValueError(f"the best is picked from at least 1 sample, got n = {n}")
    return math.log(n) - (n - 1) / n


def best_columns(scores: tuple[float, ...], n: int, most: int) -> list[int]:
    """Return where the highest score of each block of n stands, the first one of a tie.

    What is left over behind the last whole block, or behind `most` of them, is not used.

    Example:
        >>> best_columns((1.0, 3.0, 2.0, 2.0, 9.0), n=2, most=4)
        [1, 2]
    """
    blocks = [range(start, start + n) for start in range(0, len(scores) - n + 1, n)]
    return [max(block, key=lambda k: scores[k]) for block in blocks[:most]]


def pick_best_groups(responses: Path, config: BestOfN, output: Path, log: Log) -> dict[str, float]:
    """Write the best of each block of N samples, prompt by prompt (`pick_best_of_n`).

    Raises:
        ConfigError: A prompt has fewer than N samples.
    """
    kept, total = 0, 0.0

    def picked() -> Iterator[Group]:
        nonlocal kept, total
        for group in read_groups(responses):
            best = _best(group, config)
            kept += len(best.responses)
            total += sum(scores_of(best))
            yield best

    prompts = write_groups(output, picked())
    log.note(f"best of {config.n}: {kept} responses to {prompts} prompts")
    return {
        "kl": best_of_n_kl(config.n),
        "prompts": float(prompts),
        "responses": float(kept),
        "mean_score": total / max(kept, 1),
    }


def _best(group: Group, config: BestOfN) -> Group:
    if len(group.responses) < config.n:
        raise ConfigError(
            f"best of {config.n} needs {config.n} samples per prompt, and group {group.title} has "
            f"{len(group.responses)}: sample more, or lower n"
        )
    return keep_responses(group, best_columns(scores_of(group), config.n, config.most))
