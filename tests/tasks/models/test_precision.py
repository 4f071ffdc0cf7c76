"""bf16 where the machine has it, or where it is asked for."""

from __future__ import annotations

import pytest
import torch

from tasks.models.precision import arithmetic_of, uses_bf16


@pytest.mark.parametrize("has", [True, False])
def test_auto_asks_the_processor(monkeypatch: pytest.MonkeyPatch, has: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert uses_bf16("auto") is has
    assert uses_bf16("bf16") and not uses_bf16("fp32")


def test_passes_compute_in_what_was_asked_for() -> None:
    left, right = torch.ones(2, 2), torch.ones(2, 2)
    with arithmetic_of("bf16"):
        assert (left @ right).dtype == torch.bfloat16
    with arithmetic_of("fp32"):
        assert (left @ right).dtype == torch.float32
