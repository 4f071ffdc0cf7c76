"""The configuration that is written: accepted, commented, and true to odd names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.registry import CONFIGS, FLOWS, find_flow, read_config
from flows.starting.config_file import copy_example, require_free, write_config
from flows.starting.fitting import Fit
from flows.starting.questions import Answers
from tasks.data.inspection.doctor import inspect_data
from tasks.data.inspection.doctor_report import DoctorReport
from tasks.data.splits import SplitConfig
from tasks.settings.errors import ConfigError
from tasks.settings.loading import load_config

ROW = '{"prompt": "a", "chosen": "b", "rejected": "c"}\n'


@pytest.fixture
def report(tmp_path: Path) -> DoctorReport:
    (tmp_path / "pairs.jsonl").write_text(ROW)
    return inspect_data([tmp_path / "pairs.jsonl"], tokenizer=lambda text: list(text.encode()))


def written(
    folder: Path, report: DoctorReport, flow: str = "apo", template: str | None = "hh", **own: Any
) -> tuple[Any, str]:
    """The checked configuration and its text."""
    split = SplitConfig(rm_share=0.4, dev_share=0.3, test_share=0.2, seed=7)
    found = Fit(report, template, 48, 32, 32, 1024, split)
    asked = Answers(flow, (Path("pairs.jsonl"),), None, "small", "chosen", template)
    path = folder / "my run.yaml"
    write_config(asked._replace(**own), found, path)
    return read_config(find_flow(flow), path, []), path.read_text("utf-8")


@pytest.mark.parametrize("flow", FLOWS)
def test_a_small_model_from_pairs_alone(flow: str, tmp_path: Path, report: DoctorReport) -> None:
    config, text = written(tmp_path, report, flow)
    assert [one.path for one in config.data.preferences] == ["pairs.jsonl"]
    assert config.data.split.model_dump(exclude={"dev_from_policy"}) == {
        "rm_share": 0.4 if flow == "apo" else None, "dev_share": 0.3, "test_share": 0.2, "seed": 7,
    }  # fmt: skip
    assert config.model.architecture.context == 80 and config.model.template == "hh"
    for limits in (*config.policy_limits(), config.reward.limits):
        assert (limits.max_prompt_tokens, limits.max_response_tokens) == (48, 32)
    assert config.sampling.max_new_tokens == 32
    assert f"sparring run {flow} -c '{tmp_path / 'my run.yaml'}' --dry-run" in text
    assert "(1 pairs)" in text and "${PAIRS}" not in text
    ready = (CONFIGS / FLOWS[flow].for_pairs).read_text()
    comments = [line.partition("  #")[2] for line in ready.splitlines() if "  #" in line]
    assert comments and all(comment in text for comment in comments)


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("template", [None, "plain"])
def test_a_model_of_the_users_own(
    flow: str, template: str | None, tmp_path: Path, report: DoctorReport
) -> None:
    (tmp_path / "model").mkdir()
    model = str(tmp_path / "model")
    config, _ = written(tmp_path, report, flow, template, model=model)
    assert (config.model.path, config.model.hub, config.model.architecture) == (model, None, None)
    templates = {config.model.template, config.sft.template, config.reward.template}
    assert templates == {template}
    assert config.sft.training.learning_rate == config.reward.training.learning_rate == 1e-5
    assert config.reward.training.head_learning_rate == 1e-4
    config, _ = written(tmp_path, report, flow, template, model="someone/something")
    assert (config.model.path, config.model.hub) == (None, "someone/something")


def test_gold_and_test_of_the_users_own(tmp_path: Path, report: DoctorReport) -> None:
    config, _ = written(tmp_path, report, gold="gold.jsonl", test=Path("test.jsonl"))
    assert (config.gold.provider, config.gold.path) == ("file", "gold.jsonl")
    assert [one.path for one in config.data.test] == ["test.jsonl"]
    assert config.data.overlap == "drop"
    assert written(tmp_path, report)[0].gold.provider == "chosen"


@pytest.mark.parametrize("name", ["12:30", "no", "a: b #c.jsonl", "${HOME}/ü.jsonl", 'q"\\.jsonl'])
def test_a_name_reads_back_as_it_is(name: str, tmp_path: Path, report: DoctorReport) -> None:
    config, _ = written(tmp_path, report, data=(Path(name), Path("b")))
    assert [one.path for one in config.data.preferences] == [name, "b"]


def test_own_columns_and_unreadable_records_are_written_down(
    tmp_path: Path, report: DoctorReport
) -> None:
    own = {"fields": (("chosen", "no"), ("prompt", "Frage")), "max_bad_share": 0.05}
    config, _ = written(tmp_path, report, test=Path("test.jsonl"), **own)
    for source in (*config.data.preferences, *config.data.test):
        assert source.fields == {"chosen": "no", "prompt": "Frage"}
    assert config.data.max_bad_share == 0.05


def test_nothing_is_overwritten_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "my-run.yaml"
    require_free(path, force=False)
    path.write_text("mine")
    with pytest.raises(ConfigError, match="is there already: name another --output, or add --for"):
        require_free(path, force=False)
    with pytest.raises(ConfigError, match="is there already"):
        copy_example("apo", path, force=False)
    assert path.read_text() == "mine"
    require_free(path, force=True)
    assert copy_example("apo", path, force=True) == path
    assert path.read_text() != "mine"


@pytest.mark.parametrize(
    ("name", "of"), [("apo", "apo-tiny"), ("exo", "exo-tiny"), ("exo-hh.yaml", "exo-hh")]
)
def test_an_example_is_a_copy_that_names_itself(
    name: str, of: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BASE_MODEL", "somewhere")
    assert copy_example(name, None, force=False) == Path(f"{of}.yaml")
    assert load_config(Path(f"{of}.yaml")) == load_config(CONFIGS / f"{of}.yaml")
    assert f" -c {of}.yaml" in Path(f"{of}.yaml").read_text()
    with pytest.raises(ConfigError, match="did you mean 'apo-tiny'"):
        copy_example("apo-tiney", None, force=False)


def test_the_tutorial_shows_what_is_written() -> None:
    """All but what is found in the data."""
    page = (CONFIGS.parents[1] / "docs/tutorial.md").read_text("utf-8")
    shown = yaml.safe_load(page.partition('```yaml title="my-run.yaml"\n')[2].partition("```")[0])
    ready = yaml.safe_load((CONFIGS / "exo-pairs.yaml").read_text("utf-8"))
    for tree in (shown, ready):
        for place, key in (
            (tree["data"], "preferences"), (tree["model"]["architecture"], "context"),
            (tree["sampling"], "max_new_tokens"),
        ):  # fmt: skip
            del place[key]
        for limits in (tree["limits"], tree["sft"]["limits"], tree["reward"]["limits"]):
            limits.update(max_prompt_tokens=1, max_response_tokens=1)
    assert shown == ready
