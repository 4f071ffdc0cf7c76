"""The papers' configurations have the papers' numbers: page, section and appendix say which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.registry import CONFIGS, find_flow, read_config


@pytest.fixture(autouse=True)
def everything_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BASE_MODEL", "GOLD", "GPT4LLM", "PAIRS", "PROMPTS", "SUBSET", "REWARD_MODEL"):
        monkeypatch.setenv(name, str(tmp_path))


def read(name: str) -> Any:
    return read_config(find_flow(name.partition("-")[0]), CONFIGS / f"{name}.yaml", [])


def test_apos_reward_model() -> None:
    """Section 4.1: one epoch at 1e-6, batches of 64, 100 steps of warm-up; 512 tokens in all."""
    reward = read("apo-hh").reward
    training = reward.training
    assert (training.num_train_epochs, training.learning_rate) == (1, 1e-6)
    assert (training.batch_size, training.warmup_steps) == (64, 100)
    assert (reward.beta_2, reward.split_samples, reward.limits.max_tokens) == (10, True, 512)


def test_apos_policy() -> None:
    """Section 4.1: 5e-6, 2e-6, 9e-7 in three rounds, batches of 128, four samples, 1,024 tokens."""
    config = read("apo-hh")
    policy, limits = config.policy, config.policy.limits
    assert [policy.rate_at(epoch) for epoch in (1, 2, 3)] == [5e-6, 2e-6, 9e-7]
    assert (config.apo_epochs, policy.training.batch_size, config.sampling.samples) == (3, 128, 4)
    assert limits.max_prompt_tokens + limits.max_response_tokens == 1024


def test_alpacas_set_up_and_apos_draws() -> None:
    """Alpaca: three epochs at 2e-5, a cosine, 3 % of warm-up. The release: T 1.2, then T 0.3."""
    config = read("apo-hh")
    for fine_tuning in (config.sft, config.golden_sft):
        training = fine_tuning.training
        assert (training.num_train_epochs, training.learning_rate) == (3, 2e-5)
        assert (training.lr_scheduler, training.warmup_steps) == ("cosine", 0.03)
    assert (config.sampling.temperature, config.sampling.max_new_tokens) == (1.2, 256)
    tested = config.evaluation.sampling
    assert (tested.temperature, tested.top_k, tested.top_p) == (0.3, 5, 0.85)


@pytest.mark.parametrize(
    ("name", "beta_pi", "responses", "trials"),
    [
        ("exo-imdb", 0.1, {4, 8}, 15),
        ("exo-hh", 0.5, {4}, 10),
        ("exo-tldr", 0.5, {4}, 10),
        ("exo-instructions", 0.5, {4}, 10),
    ],
)
def test_exos_policies(name: str, beta_pi: float, responses: set[int], trials: int) -> None:
    """Appendix C: one epoch of Adam at 1e-6, batches of 64, τ 0.8, ε 1e-3; PPO by 15 or 10 trials.

    HH and TL;DR sweep one of the coefficients with the other at its default (Figure 6).
    """
    config = read(name)
    training = config.training
    assert (training.num_train_epochs, training.learning_rate) == (1, 1e-6)
    assert (training.batch_size, config.temperature) == (64, 0.8)
    found = {one.method: one.coefficients for one in reversed(config.all_branches())}
    assert found["exo_pref"] == {"beta_pi": beta_pi, "epsilon": 1e-3}
    assert found["dpo"]["beta_pi"] == found["dpo_rw"]["beta_pi"] == beta_pi
    scored = [one.coefficients for one in config.all_branches() if one.method == "exo_rw"]
    assert {one["responses"] for one in scored} == responses
    usual = [one for one in scored if one["beta_pi"] == beta_pi and one["beta_r"] == 0.1]
    assert len(usual) == len(responses)
    assert found["best_of_n"]["responses"] == 128
    assert (config.ppo.gamma, config.ppo.kl_coef, config.ppo_search.trials) == (1, 0.1, trials)
    assert (config.evaluation.prompts, config.evaluation.samples) == (512, 4)


def test_the_releases_start_and_reward_model_on_imdb() -> None:
    """The paper gives no numbers: five epochs and three, batches of 128, 1e-5, a cosine."""
    config = read("exo-imdb")
    for part, epochs in ((config.sft, 5), (config.reward, 3)):
        training = part.training
        assert (training.num_train_epochs, training.batch_size) == (epochs, 128)
        assert (training.learning_rate, training.lr_scheduler) == (1e-5, "cosine")
    assert config.oracle.training.num_train_epochs == 5 and config.prompts.tokens == 10


AVAS = ("ava-hh", "ava-tldr", "ava-hh-7b", "ava-demonstrations", "ava-math")


def test_what_ava_gives() -> None:
    """Algorithm 1: weight 1 for the contrast and the prior; sets, backbones and arms by table."""
    for name in AVAS:
        config = read(name)
        assert (config.ava.c_cer, config.ava.c_kl, config.continue_from) == (1, 1, "base")
    for name in ("ava-hh", "ava-tldr"):
        arms = {(cell.objective, cell.ablation) for cell in read(name).cells()}
        assert len(arms) == 9 and all(
            cell.pipeline == "reward_model" for cell in read(name).cells()
        )
    (source,) = read("ava-hh").data.preferences
    assert source.hub == "Anthropic/hh-rlhf" and len(source.subsets) == 1
    seven = read("ava-hh-7b")
    assert seven.reward.base and seven.best_of_n and seven.ppo and seven.placement.gpu
    by_pipeline = {(cell.pipeline, cell.objective) for cell in seven.cells()}
    direct = {("direct", name) for name in ("ava_p", "dpo", "sft")}
    rewards = ("ava_p", "bradley_terry", "preference_transformer")
    assert by_pipeline == direct | {("reward_model", name) for name in rewards}
    for name, judges in (("ava-demonstrations", ("RM_Test",)), ("ava-math", ("exact_match",))):
        config = read(name)
        assert config.judges() == judges
        arms = {(cell.data, cell.objective) for cell in config.cells()}
        alone = {("demonstrations", "ava_d"), ("demonstrations", "sft")}
        assert arms == alone | {("afd", "dpo"), ("afd", "ava_p")}


def test_what_ava_does_not_give_of_its_losses() -> None:
    """Section 8 of our specification recommends them."""
    for name in AVAS:
        config = read(name)
        assert (config.tqr.alpha, config.tqr.beta, config.tqr.rwt_width) == (1, 1, 256)
        assert (config.ava.gamma, config.ava.lam, config.ava.neg_guard) == (0.99, 0.5, "floor")


def test_avas_reading_for_rl_is_a_choice() -> None:
    for name in AVAS:
        assert (read(name).tqr.score, read(name).return_scale) == ("last", "mean")
    path = CONFIGS / "ava-hh-7b.yaml"
    found = read_config(find_flow("ava"), path, ["tqr.score=return", "return_scale=sum"])
    assert found.scoring().return_scale == "sum" and found.tqr.score == "return"


@pytest.mark.parametrize("name", ["ava-hh", "ava-tldr", "ava-hh-7b"])
def test_what_ava_does_not_give_of_trainings(name: str) -> None:
    """Reward models: 1e-5, heads 1e-4, a cosine, 3 %, 0.01, 32 pairs, one epoch, 512 tokens."""
    config = read(name)
    for training in (config.training, config.reward.training):
        assert (training.learning_rate, training.head_learning_rate) == (1e-5, 1e-4)
        assert (training.lr_scheduler, training.warmup_steps) == ("cosine", 0.03)
        assert (training.weight_decay, training.max_grad_norm, training.dropout) == (0.01, 1, 0)
        assert (training.batch_size, training.num_train_epochs) == (32, 1)
    for limits in (config.limits, config.reward.limits):
        longest = (448, 64) if name == "ava-tldr" else (256, 256)
        assert (limits.max_prompt_tokens, limits.max_response_tokens) == longest


def test_what_ava_does_not_give_of_policies() -> None:
    """Adapters of rank 16 at 2e-5; best of 16; PPO as our other configurations have it."""
    for name in AVAS[2:]:
        config = read(name)
        for cell in (one for one in config.cells() if one.pipeline == "direct"):
            training = config.training_of(cell)
            assert (training.learning_rate, training.lora.rank) == (2e-5, 16)
        assert config.afd_pairing == "init_sft"
    config = read("ava-hh-7b")
    assert (config.best_of_n.n, config.ppo.prompts_per_step, config.ppo.total_steps) == (
        16,
        64,
        200,
    )
    assert (config.ppo.kl_coef, config.ppo.critic_warmup_steps) == (0.1, 10)
    assert config.ppo.actor_learning_rate == config.ppo.critic_learning_rate == 1e-5
