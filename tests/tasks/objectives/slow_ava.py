"""AVA by loops over numbers, written from the formulas alone: what the fast functions must equal.

A row is one response as plain lists; positions are those of the text, `start` the first action
position. Nothing here is shared with `tasks.objectives`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One response and what the model says about it, before weights are applied."""

    tokens: list[int]
    prompt: int
    logits: list[list[float]]
    mean: list[float]
    log_std: list[float]
    hidden: list[list[float]]

    @property
    def actions(self) -> range:
        return range(self.prompt - 1, len(self.tokens) - 1)

    @property
    def irl(self) -> range:
        return range(self.prompt - 1, len(self.tokens) - 2)


def log_softmax(values: list[float]) -> list[float]:
    top = max(values)
    total = top + math.log(sum(math.exp(value - top) for value in values))
    return [value - total for value in values]


def q_of(logits: list[float], alpha: float, q_map: str) -> list[float]:
    if q_map == "raw":
        return logits
    if q_map == "prob":
        logits = [math.exp(value) for value in log_softmax(logits)]
    return log_softmax([alpha * value for value in logits])


def weights_of(
    queries: list[list[float]], keys: list[list[float]], positions: list[int], scale: str
) -> dict[int, float]:
    """The weight of each of the positions: the mean of the columns of the attention matrix."""
    weights = dict.fromkeys(positions, 0.0)
    for i in positions:
        scores = [
            sum(a * b for a, b in zip(queries[i], keys[j], strict=True)) / math.sqrt(len(keys[j]))
            for j in positions
        ]
        for j, share in zip(positions, log_softmax(scores), strict=True):
            weights[j] += math.exp(share) / len(positions)
    factor = len(positions) if scale == "mean1" else 1
    return {j: factor * weight for j, weight in weights.items()}


def kl(mean: float, log_std: float) -> float:
    return 0.5 * (mean**2 + math.exp(log_std) ** 2 - 1) - log_std


def log_density(td: float, mean: float, log_std: float) -> float:
    return -0.5 * ((td - mean) / math.exp(log_std)) ** 2 - log_std - 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class Spelled:
    """The terms of one response by position, as in section 4 of the specification."""

    log_lik: list[float]
    q: list[float]
    q_next: list[float]
    mean: list[float]
    log_std: list[float]
    td: list[float]
    kl: list[float]
    fit: list[float]
    last: float
    whole: float
    weights: list[float]


def spell(
    row: Row, *, rwt: str | None, alpha: float = 1, q_map: str = "logit", gamma: float = 0.99
) -> Spelled:
    """Every term of one response; `rwt` is the scale of the weights, None: no weights."""
    actions = list(row.actions)
    ones = dict.fromkeys(actions, 1.0)
    w = ones if rwt is None else weights_of(row.hidden, row.hidden, actions, rwt)
    q = {j: q_of(row.logits[j], alpha, q_map) for j in actions}
    mean = {j: w[j] * row.mean[j] for j in actions}
    log_std = {j: math.log(w[j]) + row.log_std[j] for j in actions}
    taken = {j: w[j] * q[j][row.tokens[j + 1]] for j in actions}
    td = [taken[j] - gamma * taken[j + 1] for j in row.irl]
    total = sum(w.values())
    return Spelled(
        log_lik=[q[j][row.tokens[j + 1]] for j in actions],
        q=[taken[j] for j in actions],
        q_next=[taken[j + 1] for j in row.irl],
        mean=list(mean.values()),
        log_std=list(log_std.values()),
        td=td,
        kl=[kl(mean[j], log_std[j]) for j in row.irl],
        fit=[log_density(d, mean[j], log_std[j]) for d, j in zip(td, row.irl, strict=True)],
        last=mean[actions[-1]],
        whole=sum(w[j] / total * row.mean[j] for j in actions),
        weights=list(w.values()),
    )


def average(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def slow_irl(rows: list[Spelled], *, lam: float, c_kl: float) -> float:
    divergence = average([value for row in rows for value in row.kl])
    return c_kl * divergence - lam * average([value for row in rows for value in row.fit])


def slow_d(rows: list[Spelled], *, lam: float, beta: float = 1, c_kl: float = 1) -> float:
    likelihood = average([beta * value for row in rows for value in row.log_lik])
    return -likelihood + slow_irl(rows, lam=lam, c_kl=c_kl)


def slow_p(
    chosen: list[Spelled],
    rejected: list[Spelled],
    *,
    lam: float,
    beta: float = 1,
    c_kl: float = 1,
    b_neg: float = 1,
    irl_on: str = "both",
    neg_guard: str = "floor",
    vocab_size: int,
) -> float:
    guard = {
        "none": lambda log_p: beta * log_p,
        "floor": lambda log_p: max(beta * log_p, -beta * math.log(vocab_size)),
        "unlikelihood": lambda log_p: -beta * math.log(1 - math.exp(log_p)),
    }[neg_guard]
    negative = average([guard(value) for row in rejected for value in row.log_lik])
    total = slow_d(chosen, lam=lam, beta=beta, c_kl=c_kl) + b_neg * negative
    return total + (slow_irl(rejected, lam=lam, c_kl=c_kl) if irl_on == "both" else 0.0)


def golden_row(*, rejected: bool) -> Row:
    """One side of the golden pair: six tokens, the first two of them the prompt."""
    phi = 0.5 if rejected else 0.0
    return Row(
        tokens=[0, 3, 2, 0, 1, 4] if rejected else [0, 3, 1, 4, 2, 4],
        prompt=2,
        logits=[[math.sin(1.3 * j + 0.7 * k + phi) for k in range(5)] for j in range(6)],
        mean=[0.3 * math.cos(0.9 * j + phi) for j in range(6)],
        log_std=[-0.2 + 0.1 * math.sin(j + phi) for j in range(6)],
        hidden=[[math.sin(j + phi), math.cos(0.5 * j + phi)] for j in range(6)],
    )
