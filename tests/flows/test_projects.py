"""Two projects on one store: stages are shared, and names are each project's own."""

from __future__ import annotations

import mlflow
import pytest

from tasks.stages.runs.aliases import current_alias
from tasks.stages.runs.run_store import list_runs
from tests.flows.command import SMALL, Shell, sets

LOW = sets("gate.min_win_rate=0.01", "gate.min_judge_accuracy=null")
RUN = ("run", "apo", "-c", str(SMALL))


def test_two_projects_on_one_store_move_only_what_is_theirs(served_copy: Shell) -> None:
    shell, made = served_copy, served_copy.finished_keys()
    own, before = current_alias(shell.home, "apo", "candidate"), list_runs(shell.home)
    for words in (["project=search"], ["project=ads", "candidates=every_run"]):
        assert "cached" in shell(*RUN, *sets(*words)).stdout
    assert shell.finished_keys() == made, "what a stage made is everybody's"
    (ads, search, *_) = list_runs(shell.home)
    assert (ads.flow, search.flow) == ("ads.apo", "search.apo")
    assert search.id.startswith("search.apo-")
    shell(*RUN, *sets("project=ads"))
    assert len(list_runs(shell.home)) == len(before) + 2, "ads has this result already"

    assert current_alias(shell.home, "search.apo", "candidate") is None, "nobody scheduled it"
    assert "sparring promote RUN" in shell.refusal("promote", "--flow", "search.apo")
    assert "would become" in shell("promote", search.id, "--dry-run", *LOW).stdout
    shell("promote", search.id, *sets("gate.min_win_rate=0.99"), code=3)
    assert "gate.nosuch" in shell.refusal("promote", search.id, *sets("gate.nosuch=1"))
    assert current_alias(shell.home, "search.apo", "candidate") is None, (
        "neither an error nor a refusal moves anything"
    )
    shell("promote", search.id, *LOW)
    champion = current_alias(shell.home, "search.apo", "champion")
    assert champion and champion.run == search.id
    assert list_runs(shell.home)[0].flow == "search.promotion"
    for flow in ("apo", "ads.apo"):
        assert current_alias(shell.home, flow, "champion") is None
    assert current_alias(shell.home, "apo", "candidate") == own
    listed = {(one["flow"], one["alias"]) for one in shell.json("ls", "aliases")}
    named = {("apo", "candidate"), ("ads.apo", "candidate"), ("search.apo", "candidate")}
    assert listed == {*named, ("search.apo", "champion")}
    shown = shell.json("show", "search.apo/champion")
    assert shown["key"] == champion.models["policy"].partition("/")[2]

    client = mlflow.MlflowClient(f"sqlite:///{shell.folder / 'mlruns' / 'mlflow.db'}")
    names = {one.name for one in client.search_experiments()}
    assert {"apo", "search.apo", "ads.apo", "search.promotion"} <= names
    assert client.get_model_version_by_alias("search-apo-policy", "champion")
    with pytest.raises(mlflow.MlflowException, match="champion"):
        client.get_model_version_by_alias("ads-apo-policy", "champion")


def test_a_project_is_a_plain_word(fresh: Shell) -> None:
    for bad in ("a.b", "A", "a/b", "../x", "-x"):
        assert "project" in fresh.refusal(*RUN, *sets(f"project='{bad}'"))
