"""A step's loss is the objective's own, however it is cut, and only what was said is learnt."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from tasks.data.files import read_groups, write_groups
from tasks.data.groups import Group, Message
from tasks.models.tokens.encoding import encode_group
from tasks.models.tqr.model_files import load_tqr
from tasks.models.tqr.response_rewards import response_rewards
from tasks.objectives.ava import AvaTerms, ava_d, ava_p, cer, gaussian_kl, td_log_density
from tasks.storage.workspace import Workspace
from tasks.training.data.encoded import EncodedFolder
from tasks.training.data.gold_games import gold_games
from tasks.training.tqr_config import GoldGames, TqrUpdateConfig
from tasks.training.updates.tqr_task import GROUPS, TqrTask
from tests.tasks.training.small_tqrs import config_of, train


def reading_of(folder: Path, data: Path, config: TqrUpdateConfig):
    """Terms and last rewards of every response of a folder, read apart from the training."""
    tqr = load_tqr(folder, dtype="float32")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    groups = [encode_group(tokenizer, None, one, config.limits) for one in read_groups(data)]
    output = tqr(tqr.batch(groups, 0))
    return output.terms, response_rewards(output).last


def test_losses_are_the_objectives_own(tiny_policy, data_folders, tmp_path, recording_log):
    """One step over all pairs by a rate of almost nothing: its loss is that of the start."""
    data = data_folders["pairs"]
    still = {"learning_rate": 1e-12, "batch_size": 10, "num_train_epochs": 1}
    train(tmp_path / "start", tiny_policy, data, config_of(tqr={"alpha": 0.8, "beta": 1.2}))
    start = tmp_path / "start" / "output"
    found = {}
    for objective, cut in (("ava_p", 60), ("ava_p", 4000), ("ava_d", 60), ("ava_d", 4000)):
        config = config_of(
            objective,
            training=still | {"micro_batch_tokens": cut},
            tqr={"alpha": 0.8, "beta": 1.2},
            ava={"b_neg": 0.7, "c_cer": 2.0},
        )
        recording_log.metrics.clear()
        train(tmp_path / f"{objective}-{cut}", start, data, config, recording_log)
        found[objective, cut] = recording_log.metrics[0][1]
    terms, last = reading_of(start, data, config)
    chosen, rejected = (AvaTerms(*(part[:, k] for part in terms)) for k in (0, 1))
    options = {"gamma": 0.99, "lam": 0.5, "beta": 1.2}
    expected = ava_p(chosen, rejected, b_neg=0.7, vocab_size=280, **options)
    expected = expected + 2.0 * cer(last[:, 0], last[:, 1]).mean()
    imitated = ava_d(*chosen, **options)
    for cut in (60, 4000):
        values = found["ava_p", cut]
        assert values["loss"] == pytest.approx(expected.item(), rel=1e-5)
        parts = sum(value for name, value in values.items() if name.startswith("loss/"))
        assert parts == pytest.approx(values["loss"], rel=1e-5)
        right = (last[:, 0] > last[:, 1]).float().mean().item()
        assert values["accuracy/last"] == pytest.approx(right)
        assert found["ava_d", cut]["loss"] == pytest.approx(imitated.item(), rel=1e-5)
    for name, value in found["ava_p", 60].items():
        if not name.startswith(("speed", "padding", "td/median")):
            assert value == pytest.approx(found["ava_p", 4000][name], rel=1e-4, abs=1e-6), name


@pytest.mark.parametrize("terminal", [False, True])
def test_the_printed_sums_and_the_prior_or_both_to_the_end(
    tiny_policy, data_folders, tmp_path, recording_log, terminal
):
    """Likelihoods without the last action, the prior with it, errors too: there δ is Q itself."""
    data, still = data_folders["pairs"], {"learning_rate": 1e-12, "batch_size": 10}
    weights = {"reduction": "sum", "strict_sum": True, "neg_guard": "none"}
    weights |= {"kl_range": "actions", "terminal_td": terminal}
    once = still | {"num_train_epochs": 1, "micro_batch_tokens": 60}
    config = config_of(training=once, ava=weights)
    train(tmp_path / "start", tiny_policy, data, config_of())
    start = tmp_path / "start" / "output"
    train(tmp_path / "run", start, data, config, recording_log)
    terms, last = reading_of(start, data, config)
    likelihood = (terms.log_lik * terms.irl_mask).sum(dim=(0, 2))
    td = terms.q - 0.99 * terms.q_next
    last_action = terms.action_mask & ~terms.irl_mask
    assert torch.equal(terms.q_next[last_action], torch.zeros(int(last_action.sum())))
    prior = gaussian_kl(terms.mean, terms.log_std)[terms.action_mask].sum()
    fit = td_log_density(td, terms.mean, terms.log_std)
    fit = fit[terms.action_mask if terminal else terms.irl_mask].sum()
    expected = likelihood[1] - likelihood[0] + prior - 0.5 * fit
    expected = expected / len(last) + cer(last[:, 0], last[:, 1]).mean()
    assert recording_log.metrics[0][1]["loss"] == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("split", [False, True])
def test_gold_and_pairs_have_means_of_their_own(
    split, tiny_policy, data_folders, tmp_path, recording_log
):
    """Value of a mixed step = gold against samples alone + beta_2 x human pairs alone."""
    still = {"learning_rate": 1e-12, "batch_size": 100, "num_train_epochs": 1}
    write_groups(tmp_path / "gold", gold_games(data_folders["gold"], split_samples=split))

    def first_step(name: str, data: Path, cut: int = 4000, **games) -> dict[str, float]:
        given = {"gold": GoldGames(beta_2=3.0, split_samples=split)} if games else {}
        config = config_of(training=still | {"micro_batch_tokens": cut}, **given)
        recording_log.metrics.clear()
        counts = train(tmp_path / name, tiny_policy, data, config, recording_log, **games)
        return recording_log.metrics[0][1] | counts

    pairs, games = data_folders["pairs"], {"apo": data_folders["gold"]}
    human, gold = first_step("human", pairs), first_step("gold run", tmp_path / "gold")
    for cut in (4000, 120):
        mixed = first_step(f"mixed {cut}", pairs, cut, **games)
        assert mixed["data/apo/groups"] == (15 if split else 5)
        assert mixed["loss"] == pytest.approx(gold["loss"] + 3 * human["loss"], rel=1e-5)
        parts = [value for name, value in mixed.items() if "loss/" in name]
        assert len(parts) == 10 and sum(parts) == pytest.approx(mixed["loss"], rel=1e-5)
        for name in ("accuracy/last", "accuracy/return", "reward_std", "floored"):
            assert mixed[name] == pytest.approx(human[name], rel=1e-4)
            assert mixed[f"apo/{name}"] == pytest.approx(gold[name], rel=1e-4)


def test_a_cut_response_has_an_end_that_nobody_learns(tiny_policy, tmp_path, recording_log):
    """`no tea` was cut, so its 2 tokens are actions and its end is not; `yes` has its end."""
    groups = [
        Group(
            (Message("user", "a?"),), ("no tea", "yes"), (1.0, 0.0), extra={"ended": [False, True]}
        )
    ]
    write_groups(tmp_path / "data", groups)
    train(tmp_path / "run", tiny_policy, tmp_path / "data", config_of())
    folder = EncodedFolder(Workspace(tmp_path / "run").part(GROUPS))
    eos = AutoTokenizer.from_pretrained(tiny_policy).eos_token_id
    cut, whole = map(len, folder.encoded(0).responses_ids)
    for strict, terminal in ((False, False), (True, False), (False, True)):
        switches = {"strict_sum": strict, "terminal_td": terminal, "kl_range": "actions"}
        given = config_of(ava=switches)
        task = TqrTask({GROUPS: folder}, given, eos, 280, lambda groups: groups)
        counts = {name.removeprefix("groups:"): n for name, n in task.counts({GROUPS: [0]}).items()}
        assert counts["chosen/actions/1"] == cut - strict
        assert counts["rejected/actions/1"] == counts["rejected"] == whole - strict
        assert counts["chosen/irl/1"] == cut - 1, "a response that was cut goes on"
        assert counts["rejected/irl/1"] == whole - 1 + terminal
        assert counts["pairs"] == 1 and counts["actions"] == cut + whole - 2 * strict
    batch = task.micro_batch(GROUPS, [0])
    assert batch.ended.tolist() == [[False, True]]
    assert [ids[-1] for ids in batch.groups[0].responses_ids] == [eos, eos]
    assert len(batch.groups[0].responses_ids[0]) == cut + 1
