"""Hub names at a commit: found when a run begins, kept in its inputs, news when they move."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from flows.configs.apo import ApoConfig
from flows.schedule.period_claims import LastCompleted
from flows.schedule.resolution import nothing_new, resolve
from flows.steps.apo_inputs import prepare_inputs
from flows.steps.hub_commits import hub_commit, hub_commits, pinned
from flows.steps.inputs import check_inputs
from tasks.settings.errors import ConfigError
from tasks.settings.loading import apply_overrides, load_config, validate
from tasks.stages.plan import planning
from tasks.storage.home import Home

SMALL = Path(__file__).parents[1] / "configs" / "small.yaml"
OVERRIDES = (
    "data.playground=null",
    "data.preferences=[{hub: owner/pairs}, {hub: owner/more, revision: v1}]",
    "model.architecture=null",
    "model.hub=owner/policy",
    "reward.base=owner/judge@main",
    "compare_with.other=gpt2",
    "schedule.cron=0 3 * * *",
    "gold.path=gold.jsonl",
)


class FakeHub:
    """What the hub's API says: a commit for each name and revision."""

    def __init__(self) -> None:
        self.commits: dict[str, str] = {}
        self.files: dict[str, list[str]] = {}
        self.asked: list[str] = []

    def repo_info(
        self, name: str, *, repo_type: str, revision: str | None, timeout: float
    ) -> SimpleNamespace:
        address = f"{repo_type} {name} {revision or 'main'}"
        self.asked.append(address)
        if address not in self.commits:
            raise OSError("404: no such\n repository")
        files = [SimpleNamespace(rfilename=file) for file in self.files.get(name, ())]
        return SimpleNamespace(sha=self.commits[address], siblings=files)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub()
    names = ("dataset owner/pairs main", "dataset owner/more v1", "model owner/policy main")
    names += ("model owner/judge main", "model gpt2 main")
    fake.commits = {name: str(place) * 40 for place, name in enumerate(names)}
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: fake)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gold.jsonl").write_text("{}\n")
    return fake


def config(*overrides: str) -> ApoConfig:
    tree = apply_overrides(load_config(SMALL), [*OVERRIDES, *overrides])
    return validate(ApoConfig, tree, SMALL.name)


def test_every_hub_name_of_a_configuration_is_at_a_commit(hub: FakeHub) -> None:
    found = pinned(config())
    assert [source.revision for source in found.data.preferences] == ["0" * 40, "1" * 40]
    assert found.model.revision == "2" * 40
    assert found.reward.base == f"owner/judge@{'3' * 40}"
    assert found.compare_with == {"other": f"gpt2@{'4' * 40}"}
    assert hub_commits(found) == {
        "hf://datasets/owner/pairs": "0" * 40,
        "hf://datasets/owner/more": "1" * 40,
        "hf://owner/policy": "2" * 40,
        "hf://owner/judge": "3" * 40,
        "hf://gpt2": "4" * 40,
    }
    models = {model.source: model.revision for model in found.named_models()}
    assert models == {"owner/policy": "2" * 40, "owner/judge": "3" * 40, "gpt2": "4" * 40}
    asked = len(hub.asked)
    assert pinned(found) == found and len(hub.asked) == asked, "a commit is not asked for again"


def test_a_set_that_moved_is_news_and_read_anew(hub: FakeHub, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")

    def key(settings: ApoConfig) -> list[tuple[str, str]]:
        with planning(home) as run:
            prepare_inputs(settings)
        return [(stage.stage, stage.key) for stage in run.planned if stage.key]

    own = ("model.template=hh", "reward.template=hh")
    first = resolve(home, "apo", config(*own), None)
    assert first.config.inputs.items() >= hub_commits(first.config).items()
    assert set(first.config.inputs) == {"gold.jsonl", *hub_commits(first.config)}
    check_inputs(first.config)
    last = LastCompleted("apo-1", first.basis, first.used, {}, 1)
    again = resolve(home, "apo", config(*own), last)
    assert "nothing new since apo-1" in nothing_new(again, last)
    assert key(again.config) == key(first.config)

    hub.commits["dataset owner/pairs main"] = "9" * 40
    moved = resolve(home, "apo", config(*own), last)
    assert nothing_new(moved, last) == ""
    assert moved.config.inputs["hf://datasets/owner/pairs"] == "9" * 40
    changed = dict(key(moved.config)).items() ^ dict(key(first.config)).items()
    assert {stage for stage, _ in changed} == {"prepare_data"}


def test_a_hub_that_does_not_know_the_name_is_one_sentence(hub: FakeHub) -> None:
    with pytest.raises(ConfigError) as caught:
        pinned(config("model.hub=owner/nothing"))
    assert str(caught.value) == (
        "the model 'owner/nothing' cannot be loaded: the hub does not say at which commit it is "
        "(404: no such repository); check the name and the network, give a commit as its "
        "`revision`, or a local `path`"
    )


def test_a_set_that_is_a_script_is_refused_when_the_run_begins(hub: FakeHub) -> None:
    """Later `datasets` would refuse it at the first row; its copy as parquet is read."""
    hub.files["owner/pairs"] = ["README.md", "pairs.py"]
    with pytest.raises(ConfigError, match="'owner/pairs' is a loading script.*refs/convert/parq"):
        pinned(config())
    hub.files["owner/pairs"] = ["README.md", "other.py", "data/train.parquet"]
    pinned(config())


def test_without_a_network_what_is_stored_here_is_taken_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The client is the real one, which the tests have put offline."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    refs = tmp_path / "models--owner--tiny" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text("a" * 40)
    assert hub_commit("model", "owner/tiny", None) == "a" * 40
    assert "owner/tiny is taken as stored here, at aaaaaaaaaaaa: " in caplog.text
    with pytest.raises(ConfigError, match="the data set 'owner/tiny' cannot be loaded"):
        hub_commit("dataset", "owner/tiny", None)


def test_a_folder_in_the_place_of_a_hub_name_has_no_commit(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "owner" / "pairs").mkdir(parents=True)
    (tmp_path / "gpt2").mkdir()
    found = pinned(config())
    assert found.data.preferences[0].revision is None
    assert found.compare_with == {"other": "gpt2"}
