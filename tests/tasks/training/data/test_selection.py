"""What a training learns from is encoded once, counted, and cut or refused only as allowed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tasks.data.files import read_groups, write_groups
from tasks.data.groups import Group, Message
from tasks.models.tokens.encoding import Limits
from tasks.settings.errors import ConfigError, RecordError
from tasks.storage.workspace import Workspace
from tasks.training.data import selection
from tasks.training.data.selection import (
    Encoder,
    Selection,
    keep_groups,
    keep_selection,
    refuse_large_groups,
)
from tasks.training.methods.registry import GROUP_METHODS

LONG = Group((Message("user", "tea " * 50),), ("cake " * 50, "no"), (1.0, 0.0))
CUTTING = Limits(
    max_prompt_tokens=20, max_response_tokens=20, on_long_response="truncate_without_eos"
)


@pytest.fixture
def without(tiny_policy, tmp_path):
    """Makes a copy of the model whose tokenizer lacks some special tokens."""

    def copy(*names: str) -> Path:
        folder = tmp_path / "-".join(names)
        shutil.copytree(tiny_policy, folder)
        file = folder / "tokenizer_config.json"
        settings = {k: v for k, v in json.loads(file.read_text()).items() if k not in names}
        file.write_text(json.dumps(settings))
        if "bos_token" in names:
            file = folder / "tokenizer.json"
            file.write_text(json.dumps(json.loads(file.read_text()) | {"post_processor": None}))
        return folder

    return copy


def test_truncation_is_counted(tiny_policy, tmp_path):
    encoder = Encoder.of(tiny_policy, None, CUTTING)
    kept, counts = keep_groups(Workspace(tmp_path), "rows", [LONG], encoder)
    assert kept.encoded(0) == encoder.encode(LONG)
    tokens = sum(map(len, [kept.encoded(0).prompt_ids, *kept.encoded(0).responses_ids]))
    assert counts == {
        "data/rows/groups": 1,
        "data/rows/responses": 2,
        "data/rows/tokens": tokens,
        "data/rows/truncated_prompts": 1,
        "data/rows/truncated_responses": 1,
        "data/rows/merged_boundaries": 0,
    }
    # A second attempt reads the part and does not look at its source.
    again, same = keep_groups(Workspace(tmp_path), "rows", iter([]), encoder)
    assert (again.digest, same) == (kept.digest, counts)


def test_each_group_is_encoded_once(tiny_policy, tmp_path, monkeypatch):
    calls = []
    real = selection.encode_group
    monkeypatch.setattr(selection, "encode_group", lambda *a, **k: calls.append(1) or real(*a, **k))
    encoder = Encoder.of(tiny_policy, None, CUTTING)
    kept, _ = keep_groups(Workspace(tmp_path), "rows", [LONG] * 3, encoder)
    for _ in range(2):
        [kept.encoded(row) for row in range(len(kept))]
    assert len(calls) == 3


def test_a_long_response_is_refused_before_training(tiny_policy, tmp_path):
    encoder = Encoder.of(tiny_policy, None, Limits(max_prompt_tokens=20, max_response_tokens=20))
    with pytest.raises(RecordError, match="raise max_response_tokens"):
        keep_groups(Workspace(tmp_path), "rows", [LONG], encoder)
    assert Workspace(tmp_path).part_names() == []


def test_a_prompt_longer_than_the_context_keeps_its_end(tiny_policy, tmp_path):
    """The model's context is 128 tokens; the limits, which fit into it, cut the prompt to 20."""
    endless = Group((Message("user", "tea " * 500 + "cake?"),), ("yes",), (1.0,))
    encoder = Encoder.of(tiny_policy, None, CUTTING)
    kept, counts = keep_groups(Workspace(tmp_path), "rows", [endless], encoder)
    prompt = kept.encoded(0).prompt_ids
    assert len(prompt) == 20 and counts["data/rows/truncated_prompts"] == 1
    assert "cake?" in encoder.tokenizer.decode(prompt)


def test_limits_beyond_the_context_are_refused(tiny_policy):
    with pytest.raises(ConfigError, match="context of 128 tokens.*lower them"):
        Encoder.of(tiny_policy, None, Limits(max_prompt_tokens=100, max_response_tokens=29))


def test_an_empty_response_is_its_end(tiny_policy, tmp_path):
    empty = Group((Message("user", "?"),), ("", "no"), (1.0, 0.0))
    encoder = Encoder.of(tiny_policy, None, CUTTING)
    kept, _ = keep_groups(Workspace(tmp_path), "rows", [empty], encoder)
    assert kept.encoded(0).responses_ids[0] == [encoder.tokenizer.eos_token_id]


def test_a_tokenizer_without_end_is_refused(without):
    with pytest.raises(ConfigError, match="no eos_token"):
        Encoder.of(without("eos_token"), None, CUTTING)


def test_a_tokenizer_without_pad_pads_with_its_end(without):
    encoder = Encoder.of(without("pad_token"), None, CUTTING)
    assert encoder.tokenizer.pad_token_id is None
    assert encoder.pad_id == encoder.tokenizer.eos_token_id


def test_a_tokenizer_without_beginning_still_has_a_prompt(without, tmp_path):
    encoder = Encoder.of(without("bos_token"), "plain", CUTTING)
    nothing = Group((), ("yes",), (1.0,))
    encoded = encoder.encode(nothing)
    assert encoder.tokenizer.bos_token_id is None
    assert len(encoded.prompt_ids) >= 1 and len(encoded.responses_ids[0]) >= 1


@pytest.mark.parametrize("score", ["NaN", "Infinity"])
def test_scores_that_are_no_numbers_are_refused_by_line(score, tmp_path):
    file = tmp_path / "00000.jsonl"
    line = '{"prompt": [], "responses": ["a", "b"], "scores": [1.0, %s]}\n'
    file.write_text(line % "0.5" + line % score)
    with pytest.raises(RecordError, match=r"00000.jsonl:2: scores must be finite"):
        list(Selection([file], GROUP_METHODS["dpo"]))


def test_a_group_beyond_the_budget_is_refused_with_the_number(tiny_policy, tmp_path):
    small = Group((Message("user", "tea?"),), ("yes", "no"), (1.0, 0.0), id="small")
    encoder = Encoder.of(tiny_policy, None, CUTTING)
    kept, _ = keep_groups(Workspace(tmp_path), "rows", [small, LONG], encoder)
    name, tokens = kept.largest
    assert name == LONG.id and tokens == max(kept.sizes()) == kept.sizes()[1]
    refuse_large_groups(kept, tokens)
    expected = f"{LONG.id} has {tokens} tokens.*training.micro_batch_tokens is .*to {tokens}"
    with pytest.raises(ConfigError, match=expected):
        refuse_large_groups(kept, tokens - 1)


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="not a model folder"):
        Encoder.of(tmp_path, None, Limits())


def test_the_first_responses_of_each_group_are_selected(data_folders):
    """All have three responses; EXO on K = 2 sees the first two, in the order of the sampler."""
    whole = list(read_groups(data_folders["scored"]))
    chosen = list(Selection([data_folders["scored"]], GROUP_METHODS["exo_rw"], 2))
    assert [group.responses for group in chosen] == [group.responses[:2] for group in whole]
    assert [group.scores for group in chosen] == [group.scores[:2] for group in whole]


def test_fewer_responses_than_asked_for_are_refused_by_group(data_folders):
    first = next(iter(read_groups(data_folders["scored"])))
    words = f"is 4, and group {first.id} “.*” has 3 responses: .*lower it to 3"
    with pytest.raises(ConfigError, match=words):
        list(Selection([data_folders["scored"]], GROUP_METHODS["exo_rw"], 4))


@pytest.mark.parametrize("method", ["dpo", "exo_pref", "exo_rw", "dpo_rw"])
def test_groups_without_variance_are_left_out_and_said(
    method, tiny_policy, tmp_path, recording_log
):
    """Of three groups two have the same score for every response."""
    groups = [
        Group((Message("user", f"{scores}?"),), ("yes", "no", "maybe"), scores)
        for scores in [(1.0, 1.0, 1.0), (0.0, 2.0, 1.0), (0.5, 0.5, 0.5)]
    ]
    write_groups(tmp_path / "data", groups)
    encoder = Encoder.of(tiny_policy, None, CUTTING)
    # The second time the part is there, and it still says so.
    for _ in range(2):
        selection = Selection([tmp_path / "data"], GROUP_METHODS[method])
        kept, counts = keep_selection(
            Workspace(tmp_path), "selected", selection, encoder, recording_log
        )
        assert [kept.name(row) for row in range(len(kept))] == [groups[1].id]
        assert (counts["data/selected/left_out"], counts["data/selected/groups"]) == (2, 1)
    assert (
        recording_log.notes
        == [f"2 of 3 groups teach nothing to {method} and are left out: their scores do not differ"]
        * 2
    )


def test_nothing_is_said_where_nothing_is_left_out(
    tiny_policy, data_folders, tmp_path, recording_log
):
    selection = Selection([data_folders["scored"]], GROUP_METHODS["exo_rw"])
    encoder = Encoder.of(tiny_policy, None, CUTTING)
    _, counts = keep_selection(Workspace(tmp_path), "selected", selection, encoder, recording_log)
    assert counts["data/selected/left_out"] == 0 and recording_log.notes == []
