"""One meaning of every name: runs, what they made, aliases, keys, digests, and their beginnings."""

from __future__ import annotations

import pytest

from tasks.settings.errors import ConfigError, UnknownNameError
from tasks.stages.manifest import InputRecord, Manifest, commit_manifest
from tasks.stages.runs.aliases import AliasRecord, move_alias
from tasks.stages.runs.naming import Thing, find_model, find_run, find_thing
from tasks.stages.runs.run_store import claim_run, run_folder
from tasks.storage.home import Home
from tasks.storage.journal import append_record

MADE = [
    ("prepare_data", "", "a0"),
    ("update_policy", "golden SFT", "b0"),
    ("evaluate_policy", "golden-SFT", "b1"),
    ("compute_reference_logps", "DPO-v1", "c0"),
    ("update_policy", "DPO-v1", "c1"),
    ("evaluate_policy", "DPO-v1", "c2"),
    ("sample_responses", "start", "d0"),
    ("evaluate_policy", "start", "d1"),
    ("update_policy", "EXO-rw K=4 β_π=0.5 s0", "e0"),
    ("update_policy", "EXO-rw K=4 β_π=0.5 s1", "e1"),
    ("update_policy", "DPO-pref β=0.5 s0", "e2"),
    ("score_responses", "DPO-pref β=0.5 s0 by RM", "e3"),
    ("evaluate_policy", "DPO-pref β=0.5 s0 1/2", "e4"),
]
"""Stage, label and how the key begins."""


def key(beginning: str) -> str:
    return beginning.ljust(64, "0")


@pytest.fixture
def run(home: Home) -> str:
    """The id of a run of `apo` that made all of MADE, whose policy DPO-v1 is champion."""
    run = claim_run(home, "apo", None, "", "").id
    for stage, label, beginning in MADE:
        told = {"produces": "policy"} if stage.startswith("update") else {}
        digest = f"f{beginning}99.dir"
        asked = {"policy": InputRecord("", "update_policy", key("b0"))} if label == "start" else {}
        made = Manifest(
            key(beginning), stage, 1, None, 0, asked, digest, (), {}, label, provenance=told
        )
        commit_manifest(home, made)
        event = {"stage": stage, "label": label, "key": made.key, "state": "completed"}
        append_record(run_folder(home, run) / "stages.journal", event)
    _promote(home, "apo", run)
    return run


def _promote(home: Home, flow: str, run: str) -> None:
    models = {"policy": f"update_policy/{key('c1')}"}
    move_alias(home, AliasRecord(0, flow, "champion", models, {}, run, "", "why"))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("latest/DPO-v1", "c1"),
        ("latest/dpo-v1", "c1"),
        ("latest/golden-sft", "b0"),
        ("latest/golden SFT", "b0"),
        ("latest/evaluate_policy/DPO-v1", "c2"),
        ("latest/evaluate_policy · DPO-v1", "c2"),
        ("latest/prepare_data", "a0"),
        ("latest/start", "b0"),
        ("latest/DPO-pref", "e2"),
        ("latest/update_policy/dpo-pref β=0.5", "e2"),
        ("latest/DPO-pref 1/2", "e4"),
        ("latest/EXO-rw K=4 s1", "e1"),
        ("champion", "c1"),
        ("champion/policy", "c1"),
        ("apo/champion", "c1"),
        ("apo/champion/policy", "c1"),
        ("c100", "c1"),
        (key("c1"), "c1"),
        ("fc199", "c1"),
        (f"update_policy/{key('c1')}", "c1"),
        ("update_policy/c100", "c1"),
        ("prepare_data", "a0"),
    ],
)
def test_an_artifact_by_its_names(home: Home, run: str, name: str, meant: str) -> None:
    assert find_thing(home, name).key == key(meant)


def test_a_run_by_its_names(home: Home, run: str) -> None:
    for name in ("latest", run, run[:8], f"run/{run}"):
        assert find_thing(home, name).key == run and find_thing(home, name).is_run
        assert find_run(home, name).id == run
    for name in ("champion", "apo/champion"):
        assert find_run(home, name).id == run
    assert find_thing(home, f"{run[:8]}/prepare_data").key == key("a0")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("latest/EXO-rw K=4", "several: .*/EXO-rw K=4 β_π=0.5 s0, .*β_π=0.5 s1; say which"),
        ("latest/exo", "did you mean 'EXO-rw K=4 β_π=0.5 s0'. its models are golden SFT, DPO-v1"),
        ("latest/EXO-rw K=40", "made nothing called 'EXO-rw K=40'; did you mean 'EXO-rw K=4 "),
        ("latest/update_policy", "several: .*/update_policy/golden SFT, .*/update_policy/DPO-v1"),
        ("latest/DPO-v2", "made nothing called 'DPO-v2'; did you mean 'DPO-v1'?"),
        ("update_policy", "the beginning of several: .*b0+ .update_policy · golden SFT."),
        ("champion/reward_model", "it names policy, no reward_model"),
        ("candidate", "no flow has a candidate yet"),
        ("exo/champion", "exo has no champion yet"),
        ("DPO-v1", "no.* run id 'DPO-v1'; did you mean 'latest/DPO-v1'?"),
        ("abcdef", "nothing here has the key, digest or run id 'abcdef'.*sparring ls artifacts"),
        ("c10", "at least 4 characters"),
        ("nobody/DPO-v1", "there is no run 'nobody'"),
    ],
)
def test_what_means_nothing_or_several_things_is_told(
    home: Home, run: str, name: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        find_thing(home, name)


def test_a_misspelt_run_is_told_the_nearest(home: Home, run: str) -> None:
    wrong = run.replace("apo", "aop")
    for find in (find_thing, find_run):
        with pytest.raises(UnknownNameError, match=f"did you mean '{run}'"):
            find(home, wrong)


def test_champions_of_two_flows_are_told_apart(home: Home, run: str) -> None:
    _promote(home, "exo", "exo-elsewhere")
    for find in (find_thing, find_run):
        with pytest.raises(ConfigError, match="several: apo/champion, exo/champion; name its flow"):
            find(home, "champion")
    with pytest.raises(ConfigError, match="the run exo-elsewhere, .*`sparring pull exo-elsewhere`"):
        find_run(home, "exo/champion")
    assert find_thing(home, "exo/champion").key == key("c1")


def test_where_a_run_is_asked_for_an_artifact_is_refused(home: Home, run: str) -> None:
    with pytest.raises(ConfigError, match="is update_policy · DPO-v1 c10+; name a run alone"):
        find_run(home, "latest/DPO-v1")


def test_only_what_is_given_is_looked_at(home: Home, run: str) -> None:
    things = [Thing("external/ee11", "ee11", "gold.jsonl")]
    assert find_thing(home, "ee11", things) == things[0]
    with pytest.raises(UnknownNameError, match="of which nothing is known here"):
        find_thing(home, "latest/DPO-v1", things)


def test_a_configuration_names_the_model_to_start_from(home: Home, run: str) -> None:
    whole = f"update_policy/{key('c1')}"
    for name in ("champion", "apo/champion", "champion/policy", "latest/DPO-v1", "c100", whole):
        assert find_model(home, name, "policy") == whole
    assert find_model(home, f"elsewhere/{key('9')}", "policy") == f"elsewhere/{key('9')}"
    with pytest.raises(ConfigError, match="it names policy, no reward_model"):
        find_model(home, "champion", "reward_model")
    with pytest.raises(ConfigError, match=f"start.policy is the run {run}; name a model, {run}/"):
        find_model(home, "latest", "policy")


def test_a_model_without_a_label_goes_by_its_stage(home: Home, run: str) -> None:
    told = {"produces": "policy"}
    made = Manifest(
        key("a7"), "initialise_policy", 1, None, 0, {}, "fa7.dir", (), {}, "", provenance=told
    )
    commit_manifest(home, made)
    event = {"stage": "initialise_policy", "label": "", "key": made.key, "state": "completed"}
    append_record(run_folder(home, run) / "stages.journal", event)
    with pytest.raises(ConfigError, match="and [0-9]+ more|, initialise_policy") as told:
        find_thing(home, "latest/zzz")
    assert ", ," not in str(told.value) and "are ," not in str(told.value)
