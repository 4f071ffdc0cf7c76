"""Texts without a prompt: a policy learns them from its start token on, and can begin one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import processors
from transformers import AutoTokenizer

from tasks.data.files import read_groups, write_groups
from tasks.data.groups import Group
from tasks.models.policy import load_policy
from tasks.models.sample_shards import RolloutConfig, sample_in_shards
from tasks.models.sampling.config import SamplingConfig
from tasks.models.scoring.group_scores import logps_groups
from tasks.models.tokens.encoding import Limits, encode_group
from tasks.models.tokens.tokenizer import load_tokenizer
from tasks.settings.log import NullLog
from tasks.storage.workspace import Workspace
from tasks.training.config import PolicyConfig, TrainingConfig
from tests.tasks.training.small_updates import update

LIMITS = Limits(max_prompt_tokens=4, max_response_tokens=16)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Pieces of two texts; the first of each is not its end."""
    pieces = [("tea cake tea", False), (" cake rain", True), ("cold sun", False), (" rain", True)]
    groups = [
        Group((), (text,), id=f"t/{number}", extra={"ended": [ended]})
        for number, (text, ended) in enumerate(pieces)
    ]
    write_groups(tmp_path / "corpus", groups * 6)
    return tmp_path / "corpus"


def without_bos(folder: Path, target: Path) -> Path:
    """The same model with a tokenizer that puts nothing before a text, as GPT-2's."""
    load_policy(folder).save_pretrained(target)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.save_pretrained(target)
    return target


@pytest.fixture(params=["bos", "no bos"])
def policy(request: pytest.FixtureRequest, tiny_policy: Path, tmp_path: Path) -> Path:
    return tiny_policy if request.param == "bos" else without_bos(tiny_policy, tmp_path / "model")


def test_a_piece_is_predicted_from_the_start_token(policy: Path, corpus: Path) -> None:
    """Only a text's last piece has EOS; the one prompt token is BOS, or EOS where there is none."""
    tokenizer = load_tokenizer(policy)
    has_bos = tokenizer("")["input_ids"] == [tokenizer.bos_token_id]
    start = tokenizer.bos_token_id if has_bos else tokenizer.eos_token_id
    assert has_bos == (policy.name != "model")
    for group in list(read_groups(corpus))[:4]:
        encoded = encode_group(tokenizer, "plain", group, LIMITS)
        assert encoded.prompt_ids == [start]
        (ids,) = encoded.responses_ids
        assert (ids[-1] == tokenizer.eos_token_id) == group.extra["ended"][0]


def test_log_probabilities_are_the_plain_models(policy: Path, corpus: Path) -> None:
    """The shared, packed path gives what one row at a time gives in plain transformers."""
    groups = list(read_groups(corpus))[:4]
    tokenizer, model = load_tokenizer(policy), load_policy(policy)
    found = logps_groups(model, tokenizer, "plain", groups, LIMITS)
    for group, (value,) in zip(groups, found, strict=True):
        encoded = encode_group(tokenizer, "plain", group, LIMITS)
        ids = torch.tensor([encoded.prompt_ids + encoded.responses_ids[0]])
        with torch.no_grad():
            logps = model(ids).logits[0, :-1].log_softmax(-1)
        expected = logps.gather(-1, ids[0, 1:, None]).sum()
        assert value == pytest.approx(float(expected), abs=1e-4)


def test_pieces_are_learnt_and_a_text_can_be_begun(
    policy: Path, corpus: Path, tmp_path: Path, recording_log: Any
) -> None:
    training = TrainingConfig(
        learning_rate=3e-2,
        batch_size=8,
        micro_batch_tokens=200,
        num_train_epochs=12,
        logging_steps=1,
        precision="fp32",
    )
    config = PolicyConfig(method="sft", limits=LIMITS, template="plain", training=training)
    metrics = update(tmp_path / "sft", policy, corpus, config, recording_log)
    assert metrics["samples_seen"] == 24 * 12
    trained, tokenizer = tmp_path / "sft/output", load_tokenizer(policy)
    groups = list(read_groups(corpus))[:4]
    before, after = (
        sum(map(sum, logps_groups(load_policy(path), tokenizer, "plain", groups, LIMITS)))
        for path in (policy, trained)
    )
    assert after > before / 2
    started = begin(trained, tmp_path)
    assert [len(group.responses) for group in started] == [8, 8]
    assert any(text.strip() for group in started for text in group.responses)


def begin(policy: Path, folder: Path) -> list[Group]:
    """Sample after an empty prompt."""
    write_groups(folder / "nothing", [Group((), id="p"), Group((), id="q")])
    config = RolloutConfig(
        sampling=SamplingConfig(samples=8, max_new_tokens=6, precision="fp32"),
        limits=LIMITS,
        template="plain",
    )
    space = Workspace(folder / "sampling")
    sample_in_shards(policy, folder / "nothing", config, space, NullLog(), 0)
    return list(read_groups(space.output))
