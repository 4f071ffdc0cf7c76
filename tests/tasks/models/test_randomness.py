"""Private random streams."""

from __future__ import annotations

import torch

from tasks.models.randomness import derive_seed, seeded, uniforms


def test_seeds_are_fixed_and_unambiguous() -> None:
    assert derive_seed(1, "shard", 0) == 2172113567072922363
    assert derive_seed("a", "b") != derive_seed("ab")
    assert 0 <= derive_seed(10**30, "x") < 2**63


def test_streams_leave_the_global_one_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    with seeded("a", 1):
        one = torch.rand(3)
    with seeded("a", 1):
        assert torch.equal(torch.rand(3), one)
    first = uniforms(4, 5, "b", 2)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(uniforms(4, 5, "b", 2), first)
    assert not torch.equal(uniforms(4, 5, "b", 3), first)
    assert torch.equal(uniforms(2, 5, "b", 2), first[:2])
    assert 0 <= float(first.min()) and float(first.max()) < 1
