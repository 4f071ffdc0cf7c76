"""PPO as a whole: it learns, it says what it does, and nothing that interrupts it shows."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest
import torch
from safetensors.torch import load_file

from tasks.models.policy import load_policy
from tasks.settings.errors import ConfigError, StageError
from tasks.training.distributed.interruption import TrainingInterrupted
from tests.flows.warm_start import WARM
from tests.tasks.models.families import saved_template
from tests.tasks.training.ppo.tiny_ppo import (
    LetterScorer,
    digest_of_files,
    train_tiny,
    write_policy,
)
from tests.tasks.training.toy import StopAt

NAMES = """objective/kl objective/entropy objective/rlhf_reward objective/scores objective/kl_coef
objective/non_score_reward policy/approxkl_avg policy/clipfrac_avg loss/policy_avg loss/value_avg
val/ratio val/ratio_var val/clipfrac_avg val/num_eos_tokens""".split()


def test_the_reward_rises_while_the_kl_stays_bounded(root, recording_log):
    """From 0.5 of 5 points; what the KL costs, 0.1 per nat, is below what was gained."""
    train_tiny(
        root, "run", recording_log, total_steps=16, prompts_per_step=16, samples=1, minibatches=1,
        ppo_epochs=4, actor_learning_rate=3e-2, critic_learning_rate=3e-2, critic_warmup_steps=0,
        adaptive_kl=None, missing_eos_penalty=0,
    )  # fmt: skip
    curve = [metrics for step, metrics in recording_log.metrics if step]
    assert len(curve) == 16
    assert curve[-1]["objective/scores"] > curve[0]["objective/scores"] + 1.5
    assert curve[-1]["objective/rlhf_reward"] > curve[0]["objective/rlhf_reward"] + 0.5
    assert all(metrics["objective/kl"] < 30 for metrics in curve)


def test_every_step_is_reported_under_the_names_of_the_field(root, recording_log):
    metrics, output = train_tiny(root, "run", recording_log, critic_warmup_steps=2)
    curve = dict((step, found) for step, found in recording_log.metrics if step)
    assert sorted(curve) == [1, 2, 3, 4, 5]
    assert all(set(NAMES) <= set(curve[step]) for step in (3, 4, 5))
    # In the warm-up nothing is said about a policy that does not learn.
    assert not any(name.startswith("policy/") for name in curve[2])
    for found in curve.values():
        total = found["objective/scores"] + found["objective/non_score_reward"]
        assert found["objective/rlhf_reward"] == pytest.approx(total)
    # The actor is the reference until it has learned something.
    assert [abs(curve[step]["objective/kl"]) for step in (1, 2, 3)] == [0, 0, 0]
    assert curve[5]["objective/kl"] != 0
    assert metrics["steps"] == 5 and metrics["prompts_seen"] == 20
    assert set(NAMES) <= set(metrics)
    assert saved_template(output) == "plain"
    assert load_policy(output).num_parameters() == load_policy(root / "policy").num_parameters()


def test_the_kl_coefficient_follows_the_kl(root, recording_log):
    """The target is far above, so the coefficient falls by a fifth of 8 / 64 a step."""
    settings = {"adaptive_kl": {"target": 1e6, "horizon": 64}}
    train_tiny(root, "run", recording_log, **settings)
    found = [metrics["objective/kl_coef"] for step, metrics in recording_log.metrics if step]
    assert found == pytest.approx([0.1 * (1 - 0.2 * 8 / 64) ** n for n in range(5)])


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(root):
    outputs = [
        train_tiny(root, name, seed=seed)[1] for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    same, again, other = map(digest_of_files, outputs)
    assert same == again != other


def test_snapshots_are_the_policies_of_their_steps(root):
    short = train_tiny(root, "short", total_steps=2)[1]
    output = train_tiny(root, "long", total_steps=4, snapshots=2)[1]
    middle = output / "snapshots" / "1"
    assert json.loads((middle / "snapshot.json").read_text()) == {"step": 2, "steps": 4}
    assert json.loads((output / "snapshot.json").read_text()) == {"step": 4, "steps": 4}
    ours, theirs = (load_file(path / "model.safetensors") for path in (middle, short))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    with pytest.raises(ConfigError, match="snapshots is 5"):
        train_tiny(root, "many", total_steps=4, snapshots=5)


def test_sigterm_saves_the_state_and_resuming_ends_in_the_same_place(root, recording_log):
    expected = digest_of_files(train_tiny(root, "whole")[1])
    stop = StopAt(3, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(TrainingInterrupted, match="SIGTERM, state saved at step 3 of 5"):
        train_tiny(root, "stopped", stop)
    earlier = [root / "stopped"]
    # What is in no key may be otherwise by then.
    other = {"save_every": 2, "logging_steps": 3, "keep_checkpoints": 1}
    output = train_tiny(root, "resumed", recording_log, earlier=earlier, **other)[1]
    assert digest_of_files(output) == expected
    assert "resuming after step 3 of 5" in recording_log.notes


def test_a_checkpoint_of_another_training_is_refused(root):
    stop = StopAt(2, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(TrainingInterrupted):
        train_tiny(root, "stopped", stop)
    with pytest.raises(StageError, match="belongs to another training"):
        train_tiny(root, "other", earlier=[root / "stopped"], seed=9)


@pytest.mark.parametrize(
    "kills",
    [
        pytest.param([("file", 30)], id="one"),
        pytest.param(
            [("file", 5), ("file", 40), ("draw", 1), ("step", 3), ("file", 30)]
            + [("draw", 3), ("step", 7), ("file", 90), ("draw", 1), ("draw", 2)],
            id="ten",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_kills_leave_no_trace_in_the_final_weights(kills, tmp_path):
    command = [WARM.python(), "-m", "tests.tasks.training.ppo.kill_worker", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [*command, json.dumps(kills)], env=environment, capture_output=True, text=True, timeout=900
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout.splitlines()[-1])
    assert report == {"killed": len(kills), "same": True}


class BrokenScorer(LetterScorer):
    """Gives numbers that nothing can be learned from, from its second call on."""

    def __init__(self, value: float) -> None:
        self._value, self._calls = value, 0

    def score(self, groups):
        self._calls += 1
        found = super().score(groups)
        return [[self._value for _ in row] for row in found] if self._calls > 1 else found


def test_what_is_not_finite_stops_and_names_the_step(root):
    with pytest.raises(StageError, match=r"PPO step 2: the scorer gives .* the score inf"):
        train_tiny(root, "scores", scorer=BrokenScorer(float("inf")))
    # Finite as a score; its square is not.
    with pytest.raises(StageError, match=r"PPO step 2 of 5 has the .*value loss inf"):
        train_tiny(root, "loss", scorer=BrokenScorer(1e30))
    assert (root / "loss" / "parts" / "step-00000001.json").exists()


def test_a_reference_with_other_tokens_is_refused(root):
    from tasks.training.data.selection import Encoder
    from tasks.training.ppo.config import PpoConfig
    from tasks.training.ppo.trainer import _refuse_other_vocabulary

    config = PpoConfig(limits={"max_prompt_tokens": 8, "max_response_tokens": 8})
    encoder = Encoder.of(root / "policy", config.template, config.limits)
    other = write_policy(root / "other", words=["quite", "different", "things", "here"])
    with pytest.raises(ConfigError, match="another tokenizer"):
        _refuse_other_vocabulary(encoder, other)


def test_no_prompts_are_refused(root):
    from tasks.data.files import write_groups

    (root / "prompts").unlink()
    write_groups(root / "prompts", [])
    with pytest.raises(ConfigError, match="holds no prompts"):
        train_tiny(root, "run")
