from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import data_plane
from benchmarks.engine.__main__ import QUICK
from tasks.models.base_policy import corpus_texts
from tasks.models.tokens.tokenizer import train_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("plane")
    from benchmarks.engine.setting import pairs

    train_tokenizer(corpus_texts(pairs(QUICK)), 512, made / "tokenizer")
    return made


def test_every_step_is_timed_and_twice_the_groups_are_twice_the_tokens(folder: Path) -> None:
    small, large = (data_plane.measured(QUICK, folder, count, 3) for count in (64, 128))
    assert set(small["seconds"]) == set(data_plane.STEPS)
    # The 64 pairs come round once and twice, with the same 128 responses in turn.
    assert large["tokens"] == pytest.approx(2 * small["tokens"], rel=0.1)
    assert large["text_bytes"] == pytest.approx(2 * small["text_bytes"], rel=0.1)
    assert small["private_mb"] > 50
    assert not list(folder.glob("*/groups"))


def size(prompts: int, each: float, private: float) -> dict[str, Any]:
    steps = dict.fromkeys(data_plane.STEPS, each * prompts)
    return {
        "prompts": prompts,
        "seconds": steps,
        "busy": steps,
        "tokens": 500 * prompts,
        "text_bytes": 2500 * prompts,
        "id_bytes": 2000 * prompts,
        "private_mb": private,
        "resident_mb": private + 100,
    }


def test_the_report_goes_up_to_a_million_and_shows_what_grows() -> None:
    shown = data_plane.report([size(1000, 0.001, 200.0), size(3000, 0.001, 210.0)], 8)
    assert "| tokenise | 1.00 | 3.00 | 1.00× | 1,000 s |" in shown
    # Six steps of 1,000 s each.
    assert "| 100 min |" in shown
    assert "| private memory, MB | 200 | 210 | +5.00 MB a thousand | |" in shown
    assert "| text on disk, MB | 2 | 8 | | 2.5 GB |" in shown
