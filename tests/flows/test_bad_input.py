"""Bad input ends with one clear sentence, the right exit code, and nothing half-written."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tasks.stages.manifest import damaged_files, list_manifests, manifest_path
from tests.flows.command import SMALL, Shell, sets
from tests.flows.killing import survivors

RUN = ("run", "apo", "-c", str(SMALL))
NO_ARCHITECTURE = "model.architecture=null"


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["polcy.method=rjs"], r"unknown key 'polcy' in ApoConfig; did you mean 'policy'\?"),
        (["policy.training.bach_size=1"], r"did you mean 'batch_size'\?"),
        (["gold.path=${NO_SUCH_NAME}"], r"\$\{NO_SUCH_NAME\}, which is not set .*export NO_SUCH"),
        (["policy.method=dop"], r"did you mean 'dpo'\?.* known: .*, dpo, dpo-rw, dpo_rw, exo"),
        (["reward.objective=wgam"], r"'apo_rm', 'wgan', .* or 'ava_p'; did you mean 'wgan'\?"),
        (["gold.path=nowhere.jsonl"], r"there is no file or folder 'nowhere.jsonl', seen from /"),
        (["gold.provider=chosen"], r"give `path`, .* or `provider: chosen` alone"),
        (["data.preferences=[{path: no.jsonl}]"], r"there is no data file at no.jsonl"),
        ([NO_ARCHITECTURE, "model.path=nowhere"], r"there is no file or folder 'nowhere'"),
        (["reward.base=./nowhere"], r"there is no file or folder './nowhere'"),
        (["compare_with.other=./nowhere"], r"there is no file or folder './nowhere'"),
        (["model.architecture.context=200"], r"context is 200 tokens, but .* 96 \+ .* 128 = 224"),
        (["evaluation.sampling.max_new_tokens=300"], r"300, but policy.limits.max_response_tokens"),
        (["adversarial=false"], r"reward.ablations need adversarial: true"),
        (["seed"], r"--set 'seed' is not of the form a.b=c"),
    ],
)
def test_wrong_configuration_is_found_before_anything_is_done(
    fresh: Shell, overrides: list[str], sentence: str
) -> None:
    assert re.search(sentence, fresh.refusal(*RUN, *sets(*overrides)))
    assert not fresh.home.runs.exists() or not list(fresh.home.runs.iterdir())
    assert not fresh.home.servers.exists(), "no server was started for this"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("run", "app"), "there is no flow 'app'; did you mean 'apo'? known: apo, exo, ava"),
        (("plan", "app"), "there is no flow 'app'"),
        (("run", "apo", "-c", "apo-tyny"), "did you mean 'apo-tiny'? known: apo-hh-cpu"),
        (("run", "apo", "-c", "nowhere/x.yaml"), "there is no config file 'nowhere/x.yaml'"),
        (
            ("ls", "artefacts"),
            "did you mean 'artifacts'? "
            "known: runs, artifacts, aliases, bans, operations, flows, configs",
        ),
        (("show", "0123456789"), "key, digest or run id '0123456789'"),
        (("doctor", "--data", "nowhere.jsonl"), "there is no data file at nowhere.jsonl"),
    ],
)
def test_an_unknown_name_is_refused_with_the_known_ones(
    fresh: Shell, words: tuple[str, ...], sentence: str
) -> None:
    assert sentence in fresh.refusal(*words)


def test_usage_errors_end_with_2(fresh: Shell) -> None:
    assert "No such option" in fresh("run", "apo", "--bogus", code=2).stderr
    assert "No such command" in fresh("rum", code=2).stderr


@pytest.fixture(scope="module")
def models(finished: Shell, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model folders that cannot be used: empty, broken off, asking for code, no tokenizer."""
    folder = tmp_path_factory.mktemp("models")
    good = next(finished.home.store.glob("update_policy/*/config.json")).parent
    (folder / "empty").mkdir()
    for name in ("good", "broken", "code", "dumb", "pickled"):
        shutil.copytree(good, folder / name, copy_function=shutil.copyfile)
    weights = folder / "broken" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    settings = json.loads((folder / "code" / "config.json").read_text())
    settings["auto_map"] = {"AutoModelForCausalLM": "evil.Model"}
    (folder / "code" / "config.json").write_text(json.dumps(settings))
    for file in folder.glob("dumb/*token*"):
        file.unlink()
    (folder / "pickled" / "model.safetensors").rename(folder / "pickled" / "pytorch_model.bin")
    return folder


@pytest.mark.parametrize(
    ("key", "name", "sentence"),
    [
        ("model.path", "code", "asks for code of its own (auto_map), which is never run"),
        ("reward.base", "broken", "cannot be loaded"),
        *(
            pytest.param(*one, marks=pytest.mark.slow)
            for one in (
                ("model.path", "empty", "is not a model folder: it has no config.json"),
                ("model.path", "broken", "cannot be loaded"),
                ("model.path", "dumb", "the tokenizer"),
                ("model.path", "pickled", "only pickled weights (pytorch_model.bin)"),
                ("compare_with.other", "empty", "is not a model folder"),
            )
        ),
    ],
)
def test_a_model_that_cannot_be_loaded_is_found_before_the_first_stage(
    fresh: Shell, models: Path, key: str, name: str, sentence: str
) -> None:
    overrides = [f"{key}={models / name}"] + [NO_ARCHITECTURE] * (key == "model.path")
    assert sentence in fresh.refusal(*RUN, *sets(*overrides))
    assert not fresh.events() and not fresh.home.servers.exists()


def test_a_hub_model_that_cannot_be_reached_is_found_before_the_first_stage(fresh: Shell) -> None:
    overrides = sets(NO_ARCHITECTURE, "model.hub=nobody/nothing")
    assert "the model 'nobody/nothing' cannot be loaded" in fresh.refusal(*RUN, *overrides)
    assert not fresh.events() and not fresh.home.servers.exists()


def test_a_context_too_short_for_the_prompts_is_found_before_the_first_stage(
    fresh: Shell, models: Path
) -> None:
    words = sets(NO_ARCHITECTURE, f"model.path={models}/good", "policy.limits.max_prompt_tokens=97")
    said = fresh.refusal(*RUN, *words)
    assert "has a context of 224 tokens" in said and "97" in said and "= 225" in said
    assert not fresh.events() and not fresh.home.servers.exists()


def _with_data(finished: Shell, fresh: Shell, lines: list[str]) -> list[str]:
    """Write training pairs into a fresh folder and return the words that use them."""
    shutil.copytree(finished.folder / "data", fresh.folder / "data")
    (fresh.folder / "pairs.jsonl").write_text("".join(lines), encoding="utf-8")
    test = "data.test=[{path: data/playground/test.jsonl}]"
    return sets("data.preferences=[{path: pairs.jsonl}]", test)


def _pairs(finished: Shell) -> list[str]:
    path = finished.folder / "data/playground/preferences.jsonl"
    return path.read_text(encoding="utf-8").splitlines(keepends=True)


def test_splits_that_overlap_stop_the_run_at_its_first_stage(
    finished: Shell, served_fresh: Shell
) -> None:
    test = (finished.folder / "data/playground/test.jsonl").read_text(encoding="utf-8")
    planted = test.splitlines(keepends=True)[:1]
    words = _with_data(finished, served_fresh, planted + _pairs(finished))
    said = served_fresh("run", *RUN[1:], *words, code=2).stderr
    assert said.count("\n") == 1
    assert "the data leaks" in said and "test share 1 first turns" in said
    assert "Set `overlap: drop`" in said
    assert not served_fresh.finished_keys(), "no stage is done, and nothing was trained"
    assert [event["state"] for event in served_fresh.events()] == ["running", "failed"]
    assert served_fresh.json("status")["run"]["status"] == "failed"
    shown = served_fresh("status").stdout
    assert "sparring resume" not in shown, "it would fail again"
    assert f"mend what it failed on, then: sparring run apo -c {SMALL}" in shown


def test_too_many_unreadable_records_stop_the_run(finished: Shell, served_fresh: Shell) -> None:
    lines = _pairs(finished)
    lines[6] = '{"prompt": broken\n'
    lines[7] = '["no", "record"]\n'
    done = served_fresh(*RUN, *_with_data(finished, served_fresh, lines), code=1)
    assert "left out pairs.jsonl:7: " in done.stdout and "left out pairs.jsonl:8: " in done.stdout
    assert "2 of 120 records cannot be read, more than the allowed 1.0%" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not served_fresh.finished_keys()


def test_one_unreadable_record_is_named_with_its_line_and_the_rest_is_kept(
    finished: Shell, served_fresh: Shell
) -> None:
    lines = _pairs(finished)
    lines[6] = '{"prompt": broken\n'
    words = [*_with_data(finished, served_fresh, lines), *sets("gold.max_unanswered_share=0")]
    # Gold for one query is missing, so that the run ends soon after its data is prepared.
    gold = served_fresh.folder / "data/playground/golden.jsonl"
    gold.write_text("".join(gold.read_text("utf-8").splitlines(keepends=True)[40:]), "utf-8")
    done = served_fresh(*RUN, *words, code=2)
    assert "prepare_data: left out pairs.jsonl:7: not JSON" in done.stdout
    assert "✓ prepare_data  completed" in done.stdout
    (prepared,) = list_manifests(served_fresh.home, "prepare_data")
    assert prepared.metrics["bad_records"] == 1
    assert "has no gold response for" in done.stderr and "gold.max_unanswered_share" in done.stderr


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        (1, "an older version of sparring (layout 1, this one knows 2), whose results cannot be"),
        (3, "a newer version of sparring (layout 3, this one knows 2): upgrade sparring"),
    ],
)
def test_a_store_of_another_version_is_left_alone(fresh: Shell, layout: int, words: str) -> None:
    home = fresh.home
    for folder in (home.store, home.leases, home.manifests / "prepare_data", home.runs / "apo-1"):
        folder.mkdir(parents=True)
    (home.root / "version.json").write_text(f'{{\n  "layout": {layout}\n}}\n')
    (home.manifests / "prepare_data" / f"{'0' * 64}.json").write_text('{"key": "0", "seal": "1"}')
    (home.runs / "apo-1" / "run.json").write_text('{"id": "apo-1"}')
    before = {path: path.stat().st_mtime_ns for path in home.root.rglob("*")}
    for verb in (RUN, ("plan", *RUN[1:]), ("doctor",), ("ls", "runs"), ("up",)):
        said = fresh.refusal(*verb, code=1)
        assert f"{home.root} was written by {words}" in " ".join(said.split())
    if layout == 1:
        assert f"remove {home.root}, or keep the older release" in " ".join(said.split())
    assert {path: path.stat().st_mtime_ns for path in home.root.rglob("*")} == before


# On record, in the body, at the commit.
@pytest.mark.parametrize(
    "operation", [*(pytest.param(one, marks=pytest.mark.slow) for one in (3, 47)), 115]
)
def test_a_full_disk_ends_with_1_and_leaves_nothing_half_written(
    copy: Shell, prefect_server: str, operation: int
) -> None:
    before = copy.finished_keys()
    (data,) = [name for name in before if name.startswith("prepare_data/")]
    manifest_path(copy.home, *data.split("/")).unlink()
    said = copy(*RUN, code=1, SPARRING_FAULT=f"enospc@{operation}").stderr.strip()
    assert "the disk is full: free some space" in said and said.count("\n") == 0
    whole = list_manifests(copy.home)
    assert not [one.key for one in whole if damaged_files(copy.home, one)]
    assert not list(survivors(copy)), "no server is left that nobody has on record"
    shown = copy(*RUN, PREFECT_API_URL=prefect_server).stdout
    assert "✓ prepare_data  completed" in shown
    assert copy.finished_keys() == before
