"""Exported splits are those of the real division: apart, or said in the card to share prompts."""

from __future__ import annotations

from pathlib import Path

from pyarrow.parquet import read_table

from flows.configs.exo import ExoConfig
from tasks.data.prepare import prepare
from tasks.settings.loading import load_config, validate
from tasks.settings.log import NullLog
from tasks.stages.export.publishing import export_output
from tasks.stages.lineage.reading import lineage_graph
from tasks.storage.home import Home
from tests.tasks.data.prepared import pairs, source
from tests.tasks.stages.export.small_store import commit

EXO = Path(__file__).parents[3] / "flows" / "configs" / "exo-small.yaml"


def exported(tmp_path: Path, dev_from_policy: str | None) -> tuple[dict[str, set[str]], str]:
    """Return the prompts of each split of pairs that `exo` prepares, and the card."""
    home = Home(tmp_path / "home").ensure()
    flow = load_config(EXO)
    flow["data"] = {
        "preferences": source(tmp_path / "p.jsonl", *pairs("p", 300)),
        "split": {"dev_share": 0.2, "test_share": 0.1, "dev_from_policy": dev_from_policy},
    }
    divided = validate(ExoConfig, flow, "exo").divided_data()
    made = commit(home, 1, "prepare_data", lambda at: prepare(divided, at, NullLog()))
    graph = lineage_graph(home)
    folder = tmp_path / "out"
    export_output(home, graph, graph.nodes[f"{made.stage}/{made.key}"], folder)
    files = (folder / "preference").iterdir()
    prompts = {path.stem: set(read_table(path)["prompt"].to_pylist()) for path in files}
    return prompts, (folder / "README.md").read_text()


def test_what_exo_tunes_and_measures_on_it_does_not_train_on(tmp_path: Path) -> None:
    prompts, card = exported(tmp_path, None)
    assert prompts.keys() == {"policy_train", "dev", "test"}
    assert sum(map(len, prompts.values())) == len(set().union(*prompts.values())) == 300
    assert min(map(len, prompts.values())) > 20
    assert "| dev |" not in card.partition("Splits that share prompts")[2].partition("\n\n#")[0]
    assert "| demonstrations | policy_train |" in card


def test_a_shared_dev_is_said_in_the_card(tmp_path: Path) -> None:
    prompts, card = exported(tmp_path, "shared")
    shared = len(prompts["dev"] & prompts["policy_train"])
    assert shared == len(prompts["dev"]) > 20
    assert (
        f"| dev | policy_train | {shared} |" in card or f"policy_train | dev | {shared} |" in card
    )
    assert "measured on the other" in card
