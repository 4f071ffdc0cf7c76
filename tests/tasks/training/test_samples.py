"""What a training learns from is written once, counted, and cut only where allowed."""

from __future__ import annotations

import pytest
import torch

from tasks.data.groups import Group, Message
from tasks.models.encoding import Limits
from tasks.settings.errors import ConfigError, RecordError
from tasks.storage.workspace import Workspace
from tasks.training.samples import Encoder, keep_groups, scores_tensor

LONG = Group((Message("user", "tea " * 50),), ("cake " * 50, "no"), (1.0, 0.0))


def test_truncation_is_counted(tiny_policy, tmp_path):
    limits = Limits(
        max_prompt_tokens=20, max_response_tokens=20, on_long_response="truncate_without_eos"
    )
    encoder = Encoder.of(tiny_policy, None, limits)
    kept, counts = keep_groups(Workspace(tmp_path), "rows", [LONG], encoder)
    assert list(kept) == [LONG]
    assert counts == {
        "data/rows/groups": 1,
        "data/rows/responses": 2,
        "data/rows/truncated_prompts": 1,
        "data/rows/truncated_responses": 1,
    }
    # A second attempt reads the part and does not look at its source.
    again, same = keep_groups(Workspace(tmp_path), "rows", iter([]), encoder)
    assert (list(again), same) == ([LONG], counts)


def test_a_long_response_is_refused_before_training(tiny_policy, tmp_path):
    encoder = Encoder.of(tiny_policy, None, Limits(max_prompt_tokens=20, max_response_tokens=20))
    with pytest.raises(RecordError, match="raise max_response_tokens"):
        keep_groups(Workspace(tmp_path), "rows", [LONG], encoder)
    assert Workspace(tmp_path).part_names() == []


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="not a model folder"):
        Encoder.of(tmp_path, None, Limits())


def test_scores_side_by_side():
    single = Group((Message("user", "?"),), ("a",))
    expected = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    assert torch.equal(scores_tensor([LONG, single]), expected)
