"""Every loss of the folder, with the inputs it is called with: what conventions are tested on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tasks.objectives.apo import apo_rm, apo_rm_gail, apo_rm_wgan
from tasks.objectives.ava import AvaTerms, ava_d, ava_p, cer
from tasks.objectives.dpo import dpo, dpo_rw
from tasks.objectives.exo import exo_pref, exo_rw
from tasks.objectives.ppo import ppo_policy_loss, ppo_value_loss
from tasks.objectives.reward import bradley_terry, ranking
from tasks.objectives.rrhf import rrhf
from tasks.objectives.sft import rjs, sft

B, K = 3, 4


@dataclass(frozen=True)
class Loss:
    """One loss, called with the tensors of `shapes` (differentiable) and of `plain` (not)."""

    name: str
    shapes: dict[str, tuple[int, ...]]
    call: Callable[..., Tensor]
    plain: tuple[str, ...] = ()
    mask: str | None = None
    masked: tuple[str, ...] = ()

    def inputs(self, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(7)
        values = {
            name: scale * torch.randn(shape, generator=generator, dtype=torch.float64)
            for name, shape in self.shapes.items()
        }
        if "lengths" in values:
            values["lengths"] = values["lengths"].abs().floor() + 1
        return {name: possible(name, value).to(dtype) for name, value in values.items()}


def possible(name: str, value: Tensor) -> Tensor:
    """The value, where no model could give it one that it can: AVA's clamps the log of std."""
    return value.clamp(-3, 3) if name.endswith("log_std") else value


def _group(*names: str) -> dict[str, tuple[int, ...]]:
    return dict.fromkeys(names, (B, K))


def _with_mask(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """PPO's losses always take a mask: where none is given, everything is real."""
    first = next(iter(tensors.values()))
    return {"mask": torch.ones_like(first, dtype=torch.bool)} | tensors


def _terms(tensors: dict[str, Tensor], mask: Tensor | None) -> AvaTerms:
    """AVA's terms: without a mask every position is real."""
    real = torch.ones_like(tensors["q"], dtype=torch.bool) if mask is None else mask
    return AvaTerms(**tensors, action_mask=real, irl_mask=real)


def _ava_d(mask: Tensor | None = None, **tensors: Tensor) -> Tensor:
    return ava_d(*_terms(tensors, mask), gamma=0.9, lam=0.5)


def _ava_p(mask: Tensor | None = None, **tensors: Tensor) -> Tensor:
    chosen = {name.removeprefix("chosen_"): tensors[name] for name in AVA_CHOSEN}
    rejected = {name.removeprefix("rejected_"): tensors[name] for name in AVA_REJECTED}
    sides = (_terms(side, mask) for side in (chosen, rejected))
    return ava_p(*sides, gamma=0.9, lam=0.5, vocab_size=50)


AVA = _group("q", "q_next", "log_lik", "mean", "log_std")
AVA_CHOSEN = _group(*(f"chosen_{name}" for name in AVA))
AVA_REJECTED = _group(*(f"rejected_{name}" for name in AVA))
APO = {"gold": (B,), "samples": (B, K), "chosen": (5,), "rejected": (5,)}
PAIR = {"policy_logps": (B, 2), "reference_logps": (B, 2)}
CHOICE = _group("policy_logps", "reference_logps", "rewards")
LOSSES = [
    Loss("bradley_terry", {"chosen": (B,), "rejected": (B,)}, bradley_terry),
    Loss(
        "ranking", _group("rewards", "scores"), ranking, ("scores",), "mask", ("rewards", "scores")
    ),
    Loss("apo_rm", APO, apo_rm, (), "sample_mask", ("samples",)),
    Loss("apo_rm_wgan", APO, apo_rm_wgan, (), "sample_mask", ("samples",)),
    Loss("apo_rm_gail", APO, apo_rm_gail, (), "sample_mask", ("samples",)),
    Loss("ava_d", AVA, _ava_d, (), "mask", tuple(AVA)),
    Loss("ava_p", AVA_CHOSEN | AVA_REJECTED, _ava_p, (), "mask", (*AVA_CHOSEN, *AVA_REJECTED)),
    Loss("cer", {"chosen_last": (B,), "rejected_last": (B,)}, cer),
    Loss("dpo", PAIR, lambda **t: dpo(**t, beta=0.1)),
    Loss("dpo smoothed", PAIR, lambda **t: dpo(**t, beta=0.1, label_smoothing=0.1)),
    Loss("exo_pref", PAIR, lambda **t: exo_pref(**t, beta_pi=0.5)),
    Loss(
        "dpo_rw",
        CHOICE,
        lambda **t: dpo_rw(**t, beta_pi=0.5, beta_r=0.3),
        ("rewards",),
        "mask",
        tuple(CHOICE),
    ),
    Loss(
        "exo_rw",
        CHOICE,
        lambda **t: exo_rw(**t, beta_pi=0.5, beta_r=0.3),
        ("rewards",),
        "mask",
        tuple(CHOICE),
    ),
    Loss(
        "ppo_policy_loss",
        _group("logps", "old_logps", "advantages"),
        lambda **t: ppo_policy_loss(**_with_mask(t), clip=0.2),
        ("old_logps", "advantages"),
        "mask",
        ("logps", "old_logps", "advantages"),
    ),
    Loss(
        "ppo_value_loss",
        _group("values", "old_values", "returns"),
        lambda **t: ppo_value_loss(**_with_mask(t), clip=0.2),
        ("old_values", "returns"),
        "mask",
        ("values", "old_values", "returns"),
    ),
    Loss(
        "rrhf",
        _group("policy_logps", "rewards", "lengths"),
        rrhf,
        ("rewards", "lengths"),
        "mask",
        ("policy_logps", "rewards", "lengths"),
    ),
    Loss("sft", {"policy_logps": (B,)}, sft),
    Loss(
        "rjs",
        _group("policy_logps", "rewards"),
        rjs,
        ("rewards",),
        "mask",
        ("policy_logps", "rewards"),
    ),
]
