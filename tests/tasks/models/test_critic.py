"""Critics: one value per response token, from the same numbers as a reward."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tasks.models.architecture import ArchitectureConfig, build_policy
from tasks.models.critic import GroupCritic, load_critic
from tasks.models.loading import save_model
from tasks.models.tokens.encoding import EncodedGroup
from tasks.models.tokens.tokenizer import load_tokenizer, train_tokenizer
from tasks.models.tqr.model_files import save_tqr
from tests.tasks.models.random_heads import random_reward_model
from tests.tasks.models.tqr.tqr_models import on_folder

GROUPS = [
    EncodedGroup([5, 6, 7], [[8, 9], [10]], False, [False, False]),
    EncodedGroup([11], [[12, 13, 14]], False, [False]),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A policy, a reward model with its vocabulary, and one with another."""
    root = tmp_path_factory.mktemp("critic")
    words = {"policy": ["tea", "cake", "rain"], "other": ["quite", "another", "text"]}
    for name, texts in words.items():
        tokenizer = train_tokenizer(iter(texts * 3), 270, root / name)
        config = ArchitectureConfig(hidden_size=16, layers=1, heads=2, context=32)
        save_model(build_policy(config, tokenizer, 0), tokenizer, root / name, "plain")
        model = random_reward_model(root / name, tokenizer, 1)
        save_model(model, tokenizer, root / f"{name} reward", "plain")
    return {path.name: path for path in root.iterdir()}


def test_a_value_is_read_where_the_token_is_predicted(folders):
    """Shared or not, token t's value is the head's reading of everything before it."""
    critic = GroupCritic(
        load_critic(folders["policy"], folders["policy reward"], _own(folders), 32)[0]
    )
    critic.check(range(3, 40))
    assert critic.shared, critic.reason
    shared = critic(critic.batch(GROUPS, 0))
    critic.take_plain_path("for comparison")
    torch.testing.assert_close(critic(critic.batch(GROUPS, 0)), shared)
    expected = []
    for group in GROUPS:
        for response in group.responses_ids:
            for t in range(len(response)):
                ids = torch.tensor([[*group.prompt_ids, *response[:t]]])
                state = critic.backbone(input_ids=ids).last_hidden_state[0, -1]
                expected.append(critic.model.score(state)[0])
    torch.testing.assert_close(shared, torch.stack(expected))


def _own(folders):
    return load_tokenizer(folders["policy"])


def test_a_reward_model_with_the_same_tokens_is_the_start(folders):
    model, scores = load_critic(folders["policy"], folders["policy reward"], _own(folders), 32)
    assert scores and model.score.weight.abs().sum() > 0


@pytest.mark.parametrize(("scorer", "tokens"), [("other reward", 32), ("policy reward", 33)])
def test_one_that_cannot_read_the_policy_is_not(folders, scorer, tokens):
    """Another vocabulary, or too short a context: the policy's own backbone, expecting 0."""
    model, scores = load_critic(folders["policy"], folders[scorer], _own(folders), tokens)
    assert not scores
    critic = GroupCritic(model)
    critic.check(range(3, 40))
    assert (critic(critic.batch(GROUPS, 0)) == 0).all()


def test_an_oracle_is_no_model(folders, tmp_path):
    (tmp_path / "world.json").write_text("{}")
    assert not load_critic(folders["policy"], tmp_path / "world.json", _own(folders), 32)[1]


def test_of_a_tqr_it_is_the_backbone(folders, tmp_path):
    """With a head that expects 0; one whose tokens are others is not taken."""
    tokenizer = _own(folders)
    tqr = on_folder(folders["policy"])
    with torch.no_grad():
        tqr.model.get_input_embeddings().weight[7] = 3.0
    save_tqr(tqr.model, tqr.heads, tokenizer, tmp_path / "tqr", "plain")
    model, scores = load_critic(folders["policy"], tmp_path / "tqr", tokenizer, 32)
    assert scores and not model.score.weight.any()
    assert (model.get_input_embeddings().weight[7] == 3.0).all()
    other = load_tokenizer(folders["other"])
    tqr = on_folder(folders["other"])
    save_tqr(tqr.model, tqr.heads, other, tmp_path / "other", "plain")
    assert not load_critic(folders["policy"], tmp_path / "other", tokenizer, 32)[1]
