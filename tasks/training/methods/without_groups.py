"""The methods that `update_policy` does not train: PPO samples by itself, best-of-N only picks."""

from __future__ import annotations

from tasks.training.methods.method import RESPONSES, Method, Sweepable

PPO = Method(
    name="ppo",
    title="PPO",
    is_online=True,
    sweepable=(Sweepable("kl_coef", "kl"),),
    optimum=("kl_coef",),
    is_baseline=True,
    colour="#E69F00",
    marker="v",
)
BEST_OF_N = Method(
    name="best_of_n",
    title="Best-of-N",
    trains=False,
    sweepable=(Sweepable(RESPONSES, "N", 128, field="n"),),
    is_baseline=True,
    colour="#000000",
    marker="x",
)
