from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import scale, unit_costs
from benchmarks.scale import Machine, Work

ROOT = Path(__file__).parents[2]


def test_the_shape_is_that_of_seven_billion_parameters() -> None:
    # Llama 2 7B: 32 layers of 4 h² + 3 h f + 2 h, two embeddings of 32,000, a last norm.
    h, f = 4096, 11008
    assert scale.parameters(scale.big_model()) == 32 * (4 * h * h + 3 * h * f + 2 * h) + (
        2 * 32_000 * h + h
    )


def test_operations_are_those_counted_by_hand() -> None:
    work = Work(prompts=10, responses=2, prompt_tokens=3, response_tokens=2)
    shared, plain = scale.forward_operations(scale.big_model(), work)
    h, f, vocabulary, layers = 4096, 11008, 32_000, 32
    layer = 4 * h * h + 3 * h * f
    # Pairs that see each other: 6 in the prompt; each response sees it twice, and itself 3 times.
    pairs_shared, pairs_plain = 6 + 2 * (2 * 3 + 3), 2 * 15
    head = vocabulary * h
    assert shared == 2 * (layers * layer * 7 + head * 4 + layers * 2 * h * pairs_shared)
    assert plain == 2 * (layers * layer * 10 + head * 10 + layers * 2 * h * pairs_plain)


def test_bytes_per_gpu_follow_the_stages_of_zero() -> None:
    model, machine = scale.big_model(), Machine(8, 0.45, 3.0, link=1e9)
    rows = scale.memory_table(model, [machine], (40.0, 4.0)).splitlines()[-3:]
    # 6.74e9 numbers: 4 bytes of weights, 4 of gradients, 8 of moments, divided where sharded.
    assert "| 27.0 GB | 27.0 GB | 6.7 GB |" in rows[0]
    assert "| 27.0 GB | 3.4 GB | 6.7 GB |" in rows[1]
    assert "| 3.4 GB | 3.4 GB | 6.7 GB |" in rows[2]


def test_the_page_has_the_tables_that_the_script_prints() -> None:
    model, page = scale.big_model(), (ROOT / "docs" / "scale.md").read_text("utf-8")
    work = Work(1_000_000, 8, 256, 256)
    machines = [Machine(8, 0.45, 3.0, link=400e9), Machine(64, 0.45, 3.0, link=50e9)]
    assert scale.operations_table(model, work) in page
    assert scale.time_table(model, work, machines) in page


def test_a_checkpoint_is_limited_by_the_slower_of_process_and_disk() -> None:
    model = scale.big_model()
    machines = [Machine(8, 0.45, 3.0), Machine(64, 0.45, 3.0)]
    row = scale.checkpoint_table(model, machines, 500e6).splitlines()[-2]
    # 12 bytes each: 80.9 GB; alone at 0.5 GB/s, and twice at the disk's 2 GB/s.
    assert row == "| checkpoint | 80.9 GB | 162 s | 40 s | 40 s |"


def test_hours_are_operations_over_the_rate() -> None:
    model = scale.big_model()
    work = Work(prompts=1000, responses=2, prompt_tokens=64, response_tokens=32)
    machine = Machine(gpus=1, share=0.5, dollars=2.0, peak=2e12, link=1e9)
    shared, _ = scale.forward_operations(model, work)
    row = next(
        line
        for line in scale.time_table(model, work, [machine]).splitlines()
        if "| training" in line
    )
    hours = 1000 * 3 * shared / 1e12 / 3600
    assert f"{hours:,.1f} h, ${hours * 2:,.0f}" in row


def test_checkpointing_keeps_one_fp32_state_per_layer() -> None:
    assert unit_costs.saved_bytes(checkpointing=True) == pytest.approx(4, rel=0.05)
    # At least q, k, v, two norms' inputs and what the gated part multiplies.
    assert unit_costs.saved_bytes(checkpointing=False) > 20


def gpu_script(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "benchmarks/gpu.py", *words],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )


def test_without_a_gpu_the_script_says_so() -> None:
    done = gpu_script()
    assert done.returncode == 0
    assert done.stdout.startswith("no GPU: nothing measured")
    assert gpu_script("--device", "tpu").returncode == 2


@pytest.mark.slow
def test_the_gpu_script_runs_on_the_processor(tmp_path: Path) -> None:
    done = gpu_script(
        "--device", "cpu", "--tiny", "--blocks", "1", "--row", "k8", "--folder", str(tmp_path)
    )
    assert done.returncode == 0, done.stderr
    assert "| k8: " in done.stdout
