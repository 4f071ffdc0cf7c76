"""Registered models load by MLflow's own calls, from the store that their weights lie in."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.data.groups import Group, Message
from tasks.models.scoring.config import ScoringConfig
from tasks.models.scoring.scorers import open_scorer
from tasks.models.tokens.encoding import Limits
from tasks.processes.ports import free_port
from tasks.stages.manifest import Manifest
from tasks.stages.remote.transfer import push_artifact
from tasks.stages.runs.model_pointer import model_pointer
from tasks.storage.home import Home
from tasks.tracking.mlflow_record import MlflowRecord, tracking_place
from tasks.tracking.remote.opening import open_remote
from tasks.tracking.spool import Spool
from tasks.tracking.store.dvc_store import dvc_store
from tests.databases import Databases
from tests.flows.command import wait_until
from tests.flows.serving import post
from tests.servers.tracking_server import MlflowServer
from tests.tasks.evaluation.tqr_folder import tqr_folder
from tests.tasks.stages.export.small_store import commit

ASKED = "what is 1 plus 1?"
PAIRS = [{"prompt": ASKED, "response": text} for text in ("it is 2", "no")]


@pytest.fixture(scope="module")
def own(home: Home, made: dict[str, Manifest], tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A copy of the small store, which a TQR is added to."""
    folder = tmp_path_factory.mktemp("own") / "home"
    shutil.copytree(home.root, folder)
    return Home(folder)


@pytest.fixture(scope="module")
def registered(
    own: Home,
    made: dict[str, Manifest],
    databases: Databases,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, Manifest]]:
    """A policy, a reward model and a TQR, the champions of a flow each, in an MLflow of theirs."""
    folder = tmp_path_factory.mktemp("registered")
    databases.copy("mlflow", folder / "mlruns")
    tqr = tqr_folder(folder)
    models = {
        "apo": made["policy"],
        "rm": made["reward_model"],
        "ava": commit(
            own, 11, "update_tqr", lambda at: shutil.copytree(tqr, at, dirs_exist_ok=True),
            produces="policy", label="AVA-p",
        ),
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARRING_HOME", str(own.root))
        for flow, model in models.items():
            _spool_champion(Spool(folder / "spool", f"{flow}-1"), flow, model, own)
        MlflowRecord(place := tracking_place(folder / "mlruns")).drain(folder / "spool")
        patch.setenv("MLFLOW_TRACKING_URI", place.uri)
        yield models


def _spool_champion(spool: Spool, flow: str, model: Manifest, own: Home) -> None:
    kind = model.provenance["produces"]
    title, reference = f"{model.stage} · {model.label}", f"{model.stage}/{model.key}"
    pointer = model_pointer(own, None, reference, model.digest, title, kind)
    spool.run_started(flow=flow, experiment=flow, params={})
    spool.stage_started(model.key, name=title, attempt=1, params={}, tags={}, produces=kind)
    output = {
        "digest": model.digest, "key": model.key, "stage": model.stage, "label": model.label,
        "path": pointer["folder"], "size": model.size, "produces": kind, "pointer": pointer,
    }  # fmt: skip
    spool.stage_finished(model.key, "FINISHED", tags={}, output=output)
    roles = pointer["roles"]
    spool.alias_moved(
        flow, "champion", dict.fromkeys(roles, model.key), pointers=dict.fromkeys(roles, pointer)
    )
    spool.run_finished("FINISHED", "completed")


def _loaded(name: str) -> Any:
    import mlflow

    return mlflow.pyfunc.load_model(f"models:/{name}@champion", suppress_warnings=True)


def _scores(folder: Path) -> list[float]:
    """What our own scorer says of PAIRS."""
    group = Group((Message("user", ASKED),), tuple(one["response"] for one in PAIRS))
    limits = Limits(max_prompt_tokens=99, max_response_tokens=99)
    return open_scorer(folder, ScoringConfig(limits=limits, precision="fp32")).score([group])[0]


def test_a_policy_gives_text_for_text(registered: dict[str, Manifest]) -> None:
    policy = _loaded("apo-policy")
    first = policy.predict(ASKED)
    assert first == policy.predict([ASKED, "and?"])[:1] and isinstance(first[0], str)
    turns = json.dumps([{"role": "user", "content": ASKED}])
    assert policy.predict([turns]) == first
    assert policy.predict([ASKED], params={"seed": 1}) != first
    greedy = {"temperature": 0.0, "max_new_tokens": 2}
    assert policy.predict([ASKED], params=greedy) == policy.predict([ASKED], params=greedy)
    assert len(policy.predict([ASKED], params=greedy)[0]) < len(first[0])
    assert policy.predict(policy.input_example)


def test_transformers_pipelines_are_of_plain_classes_and_the_stored_weights(
    own: Home, registered: dict[str, Manifest]
) -> None:
    import mlflow
    import torch
    from transformers import AutoModelForCausalLM, LlamaForCausalLM

    pipeline = mlflow.transformers.load_model("models:/apo-policy@champion")
    assert type(pipeline.model) is LlamaForCausalLM
    folder = registered["apo"].folder(own)
    plain = AutoModelForCausalLM.from_pretrained(folder)
    for name, weight in plain.state_dict().items():
        assert torch.equal(weight, pipeline.model.state_dict()[name])
    assert pipeline([{"role": "user", "content": ASKED}])[0]["generated_text"][-1]["content"]
    judge = mlflow.transformers.load_model("models:/rm-reward-model@champion")
    assert judge.model.config.num_labels == 1 and judge("yes")[0]["score"] > 0


@pytest.mark.parametrize("flow", ["rm", "ava"])
def test_a_reward_model_and_a_tqr_score_as_our_scorer_does(
    flow: str, own: Home, registered: dict[str, Manifest]
) -> None:
    found = _loaded(f"{flow}-reward-model")
    scores = found.predict(PAIRS)
    assert scores == pytest.approx(_scores(registered[flow].folder(own)), abs=1e-5)
    assert scores[0] != scores[1]
    columns = {name: [one[name] for one in PAIRS] for name in ("prompt", "response")}
    assert found.predict(columns) == scores
    assert found.predict(found.input_example)


def test_a_tqr_is_a_policy_too(registered: dict[str, Manifest]) -> None:
    assert isinstance(_loaded("ava-policy").predict(ASKED)[0], str)


def test_the_description_has_no_weights_and_says_where_they_are(
    registered: dict[str, Manifest], own: Home, tmp_path: Path
) -> None:
    import mlflow

    uri = "models:/apo-policy@champion"
    folder = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path)))
    files = {path.name: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    assert {"MLmodel", "README.md", "requirements.txt", "input_example.json"} <= set(files)
    assert max(files.values()) < 20_000 and not [name for name in files if "safetensors" in name]
    assert not [name for name in files if name.endswith(("pkl", "pickle", "pt"))]
    pointer = json.loads((folder / "sparring.json").read_text())
    made = registered["apo"]
    assert (pointer["stage"], pointer["key"], pointer["digest"]) == (
        made.stage, made.key, made.digest,
    )  # fmt: skip
    assert str(made.folder(own)) in (folder / "README.md").read_text()
    assert "+" not in (folder / "requirements.txt").read_text()
    params = mlflow.models.get_model_info(uri).signature.params.params
    assert {one.name for one in params} == {"max_new_tokens", "temperature", "seed"}


def test_weights_that_only_the_remote_has_are_fetched_by_key(
    registered: dict[str, Manifest], own: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARRING_REMOTE", str(tmp_path / "shared"))
    remote = open_remote()
    assert remote is not None
    made = registered["rm"]
    dvc_store(own.store).add(made.folder(own), made.files)
    push_artifact(own, remote, made)
    there = _loaded("rm-reward-model").predict(PAIRS)
    monkeypatch.setenv("SPARRING_HOME", str(tmp_path / "elsewhere"))
    own.root.rename(tmp_path / "away")
    try:
        assert _loaded("rm-reward-model").predict(PAIRS) == there
    finally:
        (tmp_path / "away").rename(own.root)
    assert made.folder(Home(tmp_path / "elsewhere")).is_dir()


def test_one_sentence_where_the_folder_was_moved_or_collected(
    registered: dict[str, Manifest], own: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    made = registered["apo"]
    folder = made.folder(own)
    folder.rename(tmp_path / "moved")
    try:
        for load in (
            _loaded,
            lambda name: mlflow.transformers.load_model(f"models:/{name}@champion"),
        ):
            with pytest.raises(RuntimeError, match=r"policy update_policy · DPO-v1") as caught:
                load("apo-policy")
            told = str(caught.value)
            assert made.key[:16] in told and "moved or removed" in told and "\n" not in told
            assert "set SPARRING_HOME" in told and "SPARRING_REMOTE" in told
    finally:
        # What DVC's cache has of it came back by itself.
        shutil.rmtree(folder, ignore_errors=True)
        (tmp_path / "moved").rename(folder)


def test_where_sparring_is_not_installed_the_folder_is_enough(
    registered: dict[str, Manifest], own: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its absence is shown by a reader of another name."""
    import mlflow

    uri = "models:/apo-policy@champion"
    mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path))
    pointer = json.loads((tmp_path / "sparring.json").read_text())
    pointer["reader"] = "nobody.installed.this"
    (tmp_path / "sparring.json").write_text(json.dumps(pointer))
    assert mlflow.pyfunc.load_model(str(tmp_path)).predict(ASKED) == _loaded("apo-policy").predict(
        ASKED
    )
    (tmp_path / "sparring.json").write_text(json.dumps({**pointer, "folder": "/nowhere"}))
    with pytest.raises(RuntimeError, match="is not in /nowhere any more: bring that folder back"):
        mlflow.pyfunc.load_model(str(tmp_path))


@pytest.mark.slow
def test_served_by_mlflow_and_downloaded_from_its_server(
    registered: dict[str, Manifest],
    own: Home,
    databases: Databases,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    databases.copy("mlflow", tmp_path / "mlflow")
    with MlflowServer(tmp_path / "mlflow") as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        _spool_champion(Spool(tmp_path / "spool", "rm-1"), "rm", registered["rm"], own)
        MlflowRecord(tracking_place(tmp_path / "mlruns")).drain(tmp_path / "spool")
        uri = "models:/rm-reward-model@champion"
        program = [sys.executable, "-m", "mlflow"]
        words = [*program, "artifacts", "download", "-u", uri, "-d", str(tmp_path / "described")]
        subprocess.run(words, check=True, capture_output=True)
        pointer = json.loads((tmp_path / "described" / "sparring.json").read_text())
        assert pointer["key"] == registered["rm"].key
        port = str(free_port())
        words = [*program, "models", "serve", "-m", uri, "--env-manager", "local", "--port", port]
        serving = subprocess.Popen(words, start_new_session=True)
        try:
            wait_until(lambda: _answers(f"http://127.0.0.1:{port}/ping"))
            query = {"dataframe_records": PAIRS}
            answer = post(f"http://127.0.0.1:{port}/invocations", query)
        finally:
            os.killpg(serving.pid, signal.SIGKILL)
            serving.wait()
        found = _scores(registered["rm"].folder(own))
        assert answer["predictions"] == pytest.approx(found, abs=1e-5)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except OSError:
        return False
    return True
