"""A TQR scores texts: in both readings, batched as alone, the end appended where it was cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.data.groups import Group, Message
from tasks.models.loading import save_model
from tasks.models.scoring.config import ScoringConfig
from tasks.models.scoring.group_scores import logps_groups
from tasks.models.scoring.scorers import open_scorer
from tasks.models.scoring.tqr_scorer import TqrScorer
from tasks.models.tokens.conversations import prompt_ids
from tasks.models.tokens.encoding import Limits
from tasks.models.tqr.group_tqr import GroupTqr
from tasks.models.tqr.model_files import save_tqr
from tasks.settings.errors import StageError
from tests.tasks.models.tqr.tqr_models import on_folder, random_heads


@pytest.fixture
def folder(build: Any, tokenizer: Any, tmp_path: Path) -> Path:
    save_model(build("llama"), tokenizer, tmp_path / "backbone", "hh")
    tqr = on_folder(tmp_path / "backbone")
    tqr.heads = random_heads(tqr.heads.config, tqr.model)
    save_tqr(tqr.model, tqr.heads, tokenizer, tmp_path / "tqr", "hh")
    return tmp_path / "tqr"


def scorer(folder: Path, **config: Any) -> TqrScorer:
    found = open_scorer(folder, ScoringConfig(precision="fp32", **config))
    assert isinstance(found, TqrScorer)
    return found


def test_batched_scores_are_those_of_each_response_alone(folder: Path, groups: list[Group]) -> None:
    together = scorer(folder).both(groups)
    single = scorer(folder, batch_tokens=1)
    for group, row in zip(groups, together, strict=True):
        for response, scores in zip(group.responses, row, strict=True):
            ((alone,),) = single.both([Group(group.prompt, (response,))])
            assert alone == pytest.approx(scores, abs=1e-5)


def test_the_configured_reading_is_given_out(folder: Path, groups: list[Group]) -> None:
    """A sum is the mean times the number of actions, a response's tokens with its end."""
    both = scorer(folder).both(groups)
    assert scorer(folder).score(groups) == [[one.last for one in row] for row in both]
    means = scorer(folder, score="return").score(groups)
    assert means == [[one.whole for one in row] for row in both]
    sums = scorer(folder, score="return", return_scale="sum").score(groups)
    ratio = sums[0][0] / means[0][0]
    assert ratio > 1 and ratio == pytest.approx(round(ratio), abs=1e-4)


@torch.no_grad()
def test_a_cut_response_is_read_to_an_end_that_is_appended(folder: Path) -> None:
    """By hand: the reward head at the last token of the text, weighted; EOS is not read."""
    one = scorer(folder)
    cut = Group((Message("user", "3?"),), ("it is",), extra={"ended": [False]})
    ended = Group(cut.prompt, cut.responses)
    assert one.both([cut]) == one.both([ended])
    tqr, tokenizer = one.tqr, one.tokenizer
    before = prompt_ids(tokenizer, "hh", cut.prompt)
    ids = tokenizer(" it is", add_special_tokens=False)["input_ids"]
    states = tqr.backbone(torch.tensor([before + ids])).last_hidden_state[:, len(before) - 1 :]
    mask = torch.ones(1, 1, len(ids) + 1, dtype=torch.bool)
    expected = tqr.heads(states[0], mask).mean[0, 0, -1]
    assert one.both([cut])[0][0].last == pytest.approx(float(expected), abs=1e-5)


def test_the_limits_hold_with_the_appended_end(folder: Path, caplog: Any) -> None:
    """A response that is too long loses its end for EOS; a full context its prompt's beginning."""
    limits = Limits(max_response_tokens=4, on_long_response="truncate_without_eos")
    one = scorer(folder, limits=limits)
    one.both([Group((Message("user", "3?"),), ("it is a much longer answer, sir",))])
    assert one._cut == {"responses": 1, "prompts": 0, "endings": 1}
    prompt = (Message("user", "what is 3 plus 4? " * 9),)
    tight = Limits(max_tokens=20, on_long_response="truncate_without_eos")
    one = scorer(folder, limits=tight)
    cut = Group(prompt, ("it is", "no"), extra={"ended": [False, True]})
    for ended in (False, True):
        encoded = one.encode(Group(prompt, ("it is",), extra={"ended": [ended]}))
        assert len(encoded.prompt_ids) + len(encoded.responses_ids[0]) == 20
    assert one.both([cut])[0][1] == pytest.approx(one.both([Group(prompt, ("no",))])[0][0])


@pytest.mark.parametrize("way", ["grouped", None])
def test_rewards_are_read_without_the_vocabulary_and_are_the_same(
    folder: Path, groups: list[Group], monkeypatch: pytest.MonkeyPatch, way: str | None
) -> None:
    """On the shared path and on the plain one."""
    one, asked, read = scorer(folder), [], GroupTqr._q
    monkeypatch.setattr(GroupTqr, "check", lambda self, tokens: self._use(way))
    monkeypatch.setattr(GroupTqr, "_q", lambda *given: asked.append(given) or read(*given))
    expected = one.every_reading(groups)
    assert asked
    asked.clear()
    found = one.both(groups)
    assert not asked
    assert [[score.last for score in row] for row in found] == expected["last"]
    assert [[score.whole for score in row] for row in found] == expected["return"]


def test_a_score_that_is_no_number_names_the_group(folder: Path, groups: list[Group]) -> None:
    one = scorer(folder)
    torch.nn.init.constant_(one.tqr.heads.reward.bias, float("nan"))
    with pytest.raises(StageError, match="gives response 0 of the group"):
        one.score(groups)


def test_the_mean_log_likelihood_is_the_policys_per_token(
    folder: Path, groups: list[Group]
) -> None:
    one = scorer(folder)
    found = one.every_reading(groups)
    sums = logps_groups(one.tqr.model, one.tokenizer, None, groups, Limits())
    for group, row, total in zip(groups, found["logp"], sums, strict=True):
        sizes = map(len, one.encode(group).responses_ids)
        per_token = [logp / size for logp, size in zip(total, sizes, strict=True)]
        assert row == pytest.approx(per_token, abs=1e-5)
    assert found["last"] == one.score(groups)
