"""Exported folders are whole, load elsewhere, and say what they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset
from huggingface_hub import DatasetCard, ModelCard

from tasks.settings.errors import ConfigError
from tasks.stages.export import publishing
from tasks.stages.export.card import Delivery
from tasks.stages.export.kinds import DATA, ELSEWHERE, MODELS, SCORED_BY_MODELS
from tasks.stages.export.origins import origins_of
from tasks.stages.lineage.reading import lineage_graph
from tasks.stages.manifest import Manifest
from tasks.storage.home import Home
from tests.tasks.stages.every_stage import STAGES
from tests.tasks.stages.export.conftest import Export

Made = dict[str, Manifest]


def run_snippet(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the code of a card where its folder lies."""
    code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert code
    monkeypatch.chdir(folder.parent)
    values: dict[str, Any] = {}
    exec(code[1], values)
    return values


@pytest.mark.parametrize("name", ["policy", "reward_model"])
@pytest.mark.parametrize("form", [None, "hf", "trl"])
def test_a_model_is_used_as_its_card_says(
    name: str, form: str | None, export: Export, tmp_path: Path, monkeypatch, capsys
) -> None:
    folder = tmp_path / "my model"
    done = export(name, folder, form=form)
    names = {path.name for path in folder.iterdir()}
    assert {"README.md", "model.safetensors", "config.json", "tokenizer.json"} <= names
    assert not names & {"metrics.json", "snapshots", "snapshot.json"}
    assert done.contents["files"] == len(names) and done.kind == MODELS[name].title
    used = run_snippet(folder, monkeypatch)
    assert capsys.readouterr().out.strip()
    if name == "reward_model":
        assert isinstance(used["reward"], float)
    else:
        assert used["start"] < len(used["output"]) <= used["start"] + 8


def test_an_option_that_would_change_nothing_is_refused(export: Export, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--messages is for data, and update_policy · DPO-v1 is"):
        export("policy", tmp_path / "out", messages=True)
    with pytest.raises(ConfigError, match="which hold messages: leave --messages out"):
        export("data", tmp_path / "out", form="hf", messages=True)
    assert not (tmp_path / "out").exists()


def test_the_card_of_a_model(export: Export, made: Made, tmp_path: Path) -> None:
    export("policy", tmp_path / "policy", licence="apache-2.0")
    card = ModelCard.load(tmp_path / "policy/README.md")
    front = card.data.to_dict()
    assert front["license"] == "apache-2.0" and front["library_name"] == "transformers"
    assert front["base_model"] == ["them/base"] and front["datasets"] == ["them/pairs"]
    assert front["tags"] == ["sparring", "alignment", "dpo"]
    assert front["pipeline_tag"] == "text-generation"
    for said in (
        "# update_policy · DPO-v1: a policy",
        "| kl | 1.5 | 0.52 to 2.48 |",
        "| win_rate/start/RM | 0.75 | 0.5 to 0.9 |",
        f"| mine.csv | {'5' * 32} |",
        "| them/base@abc | on the hub |",
        f"| groups.0 (rm_train) | prepare_data | {made['data'].key[:16]} |",
        "apo-1",
        "c" * 40,
        made["policy"].digest,
        "method: dpo",
    ):
        assert said in card.text, said
    # Measured where it was the reference is not measured.
    assert "| 9 |" not in card.text


def test_a_judge_at_chance_is_said_in_every_card_that_it_speaks_in(
    export: Export, tmp_path: Path
) -> None:
    for name, judge in (("policy", "RM"), ("reward_model", "this reward model")):
        export(name, tmp_path / name)
        said = (tmp_path / name / "README.md").read_text()
        assert f"**Beware:** {judge} is not shown to judge better than a coin" in said
        assert "52.8% of 53 held-out pairs" in said and said.count("Beware") == 1
    export("base", tmp_path / "base")
    assert "Beware" not in (tmp_path / "base" / "README.md").read_text()


def test_numbers_outlive_their_evaluation(home: Home, made: Made) -> None:
    """Its files are gone, as after `sparring gc`; what the manifest has of errors is shown."""
    (made["evaluation"].folder(home) / "evaluation.json").rename(home.root / "away")
    graph = lineage_graph(home)
    node = graph.nodes[f"{made['policy'].stage}/{made['policy'].key}"]
    ((_, found),) = origins_of(home, graph, node).evaluations
    (home.root / "away").rename(made["evaluation"].folder(home) / "evaluation.json")
    assert {one.name: one.interval for one in found} == {
        "kl": pytest.approx((0.52, 2.48)), "score/RM": None, "win_rate/start/RM": None,
    }  # fmt: skip


def test_without_a_licence_none_is_claimed(export: Export, tmp_path: Path) -> None:
    export("base", tmp_path / "model")
    card = ModelCard.load(tmp_path / "model/README.md")
    assert card.data.license == "unknown" and "None was stated" in card.text
    assert "## Measured" not in card.text


@pytest.mark.parametrize("name", ["policy", "reward_model", "data", "against_gold"])
def test_nothing_of_this_machine_leaves(
    name: str, export: Export, home: Home, tmp_path: Path
) -> None:
    export(name, tmp_path / "out")
    for path in (tmp_path / "out").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        for private in (str(home.root), str(tmp_path), "/data/of/mine"):
            assert private.encode() not in content, path


def test_prepared_data_is_read_by_configuration_and_part(
    export: Export, tmp_path: Path, monkeypatch
) -> None:
    folder = tmp_path / "pairs"
    done = export("data", folder)
    assert done.contents == {
        "rows": {"preference/rm_train": 8, "prompt/rm_queries": 1},
        "conversational": False,
    }
    card = DatasetCard.load(folder / "README.md")
    assert [one["config_name"] for one in card.data.configs] == ["preference", "prompt"]
    rows = run_snippet(folder, monkeypatch)["rows"]
    assert rows.num_rows == 8
    assert rows[0] == {"prompt": "what is 0 plus 1?", "chosen": "it is 1", "rejected": "no"}
    (query,) = load_dataset(str(folder), "prompt", split="rm_queries")
    assert query == {"prompt": "and?"}


def test_a_dialogue_makes_all_rows_messages(export: Export, tmp_path: Path) -> None:
    export("against_gold", tmp_path / "out")
    rows = load_dataset(str(tmp_path / "out"), split="train").to_list()
    assert [row["rejected"][0]["content"] for row in rows] == ["no", "go", "what?"]
    assert [turn["role"] for turn in rows[2]["prompt"]] == ["system", "user", "assistant"]
    assert rows[0]["prompt"] == [{"role": "user", "content": "why?"}]


def test_plain_texts_become_messages_when_asked(export: Export, tmp_path: Path) -> None:
    export("scored", tmp_path / "out", messages=True)
    row = load_dataset(str(tmp_path / "out"), split="train")[0]
    assert row["prompt"] == [{"role": "user", "content": "0?"}]
    assert [answer[0]["content"] for answer in row["completions"]] == ["yes", "no"]
    assert row["scores"] == [0.5, -0.5]


def test_groups_leave_as_they_are(export: Export, tmp_path: Path) -> None:
    from tasks.data.sources.config import SourceConfig
    from tasks.data.sources.reader import read_source

    export("scored", tmp_path / "out", form="hf")
    source = SourceConfig(path=str(tmp_path / "out/groups/train.parquet"))
    read = list(read_source(source, pytest.fail))
    assert [(one.responses, one.scores) for one in read] == [(("yes", "no"), (0.5, -0.5))] * 3


def test_nothing_is_overwritten_or_half_written(
    export: Export, tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    for folder in (tmp_path / "full", tmp_path / "full/mine.txt"):
        with pytest.raises(ConfigError, match="is there already"):
            export("policy", folder)
    assert (tmp_path / "full/mine.txt").read_text() == "mine"

    def fail(kind: Any, out: Delivery) -> None:
        (out.folder / "model.safetensors").write_text("half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(publishing, "write_model", fail)
        with pytest.raises(KeyboardInterrupt):
            export("policy", tmp_path / "new/model")
    assert not list((tmp_path / "new").iterdir())
    (tmp_path / "new/model").mkdir()
    export("policy", tmp_path / "new/model")
    assert (tmp_path / "new/model/README.md").exists()
    monkeypatch.chdir(tmp_path / "new")
    with pytest.raises(ConfigError, match="current folder"):
        export("policy", Path())


def test_nothing_is_exported_into_the_store(export: Export, home: Home) -> None:
    with pytest.raises(ConfigError, match="lies in the store"):
        export("policy", home.store / "mine")
    assert not (home.store / "mine").exists()


def test_what_cannot_leave_is_refused_by_name(export: Export, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"evaluate_policy · DPO-v1 .* holds numbers"):
        export("evaluation", tmp_path / "out")
    with pytest.raises(ConfigError, match=r"no format 'trll'.*trl"):
        export("policy", tmp_path / "out", form="trll")
    assert not (tmp_path / "out").exists()


def test_every_stage_is_a_kind_or_is_refused_for_a_reason() -> None:
    models = {name for name, spec in STAGES.items() if spec.produces}
    assert {STAGES[name].produces for name in models} == set(MODELS)
    assert not models & (set(DATA) | set(ELSEWHERE)) and not set(DATA) & set(ELSEWHERE)
    assert models | set(DATA) | set(ELSEWHERE) == set(STAGES)
    assert set(DATA) >= SCORED_BY_MODELS
