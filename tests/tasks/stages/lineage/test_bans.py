"""A ban reaches all that was made of a model, and nothing else."""

from __future__ import annotations

import pytest

from tasks.stages.lineage.bans import (
    ban_models,
    barred_models,
    lift_ban,
    list_bans,
    why_barred,
)
from tasks.stages.lineage.reading import lineage_graph
from tasks.stages.manifest import Manifest
from tasks.stages.runs.aliases import AliasRecord
from tasks.storage.errors import CorruptError
from tasks.storage.home import Home
from tests.tasks.stages.export.small_store import SAMPLED, commit, groups, record


def model(home: Home, number: int, *parents: Manifest) -> Manifest:
    inputs = {f"policy.{place}": record(one) for place, one in enumerate(parents)}
    fill = groups(train=SAMPLED)
    return commit(
        home, number, "update_policy", fill, inputs, produces="policy", label=f"v{number}"
    )


def champion(made: Manifest, run: str) -> AliasRecord:
    models = {"policy": f"{made.stage}/{made.key}"}
    return AliasRecord(1, "apo", "champion", models, {}, run, "", "why")


def test_descendants_are_barred_and_others_are_not(home: Home) -> None:
    base = model(home, 1)
    bad = model(home, 2, base)
    child = model(home, 3, bad)
    sister = model(home, 4, base)
    ban = ban_models(home, champion(bad, "apo-2"), "it insults people")
    assert list_bans(home) == [ban] and "@" in ban.who
    graph = lineage_graph(home)
    assert {one.title for one in barred_models(ban, graph)} == {
        "update_policy · v2",
        "update_policy · v3",
    }
    said = {
        one.label: why_barred(home, {"policy": f"{one.stage}/{one.key}"})
        for one in (base, bad, child, sister)
    }
    assert said["v1"] == said["v4"] == ""
    why = f"the policy of apo-2, which {ban.who} barred on {ban.time[:10]}: it insults people"
    assert said["v2"] == f"its policy is {why}" and said["v3"] == f"its policy comes from {why}"
    lift_ban(home, ban)
    assert list_bans(home) == []


def test_a_damaged_ban_is_named_and_bars_nothing_silently(home: Home) -> None:
    ban_models(home, champion(model(home, 1), "apo-1"), "why")
    (file,) = (home.root / "bans").rglob("*.json")
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(CorruptError, match="bans/apo/apo-1.json"):
        list_bans(home)
