"""`demote --ban`: what is barred is promoted by nobody, started from by no schedule, and listed."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import flows.cli.main  # noqa: F401  (registers the verbs)
from flows.cli.commands.app import app
from flows.registry import find_flow, read_config
from flows.schedule.resolution import _log, _start
from tasks.stages.manifest import Manifest, list_manifests
from tasks.stages.runs.aliases import AliasRecord, current_alias, move_alias
from tasks.storage.home import Home
from tests.flows.scheduling import RECURRING
from tests.tasks.stages.export.small_store import SAMPLED, commit, groups, record

CONFIG = read_config(find_flow("apo"), RECURRING, ())


def sparring(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == code, done.output
    return done.output


def named(home: Home, made: Manifest, alias: str = "champion") -> None:
    models = {"policy": f"{made.stage}/{made.key}"}
    digests = {"policy": made.digest}
    run = f"apo-{made.label}"
    config = CONFIG.model_dump(mode="json")
    move_alias(home, AliasRecord(0, "apo", alias, models, digests, run, "", "why", config=config))


def model(home: Home, number: int, *parents: Manifest) -> Manifest:
    inputs = {f"policy.{place}": record(one) for place, one in enumerate(parents)}
    fill = groups(train=SAMPLED)
    return commit(
        home, number, "update_policy", fill, inputs, produces="policy", label=f"v{number}"
    )


def test_a_banned_champion_and_its_children_are_out(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.cli.champions.Recorder", Quiet)
    first, second = model(home, 1), model(home, 2)
    third = model(home, 3, second)
    child = model(home, 4, second)
    named(home, first)
    named(home, second)
    named(home, third)
    named(home, child, "candidate")
    # The one before comes to light as the culprit: its child, the champion, goes with it.
    sparring("demote", "--flow", "apo")
    told = json.loads(sparring("demote", "--flow", "apo", "--ban", "it insults", "--json"))
    assert told["champion"]["run"] == "apo-v1" and len(told["barred"]) == 3
    said = sparring("promote", "--flow", "apo", "--dry-run", code=3)
    assert "apo-v4 cannot be promoted: its policy comes from the policy of apo-v2" in said
    (row,) = json.loads(sparring("ls", "bans", "--json"))
    assert row["why"] == "it insults" and len(row["models"]) == 3 and "@" in row["who"]
    shown = sparring("ls", "bans")
    assert "it insults" in shown and max(map(len, shown.splitlines())) <= 80
    # No scheduled run starts from such a champion.
    named(home, third)
    said_of_start: list[str] = []
    monkeypatch.setattr(_log, "warning", lambda text, *values: said_of_start.append(text % values))
    assert _start(home, "apo", CONFIG, "champion", "policy", None) is None
    assert "from the base, not from the champion: its policy comes from" in said_of_start[0]
    # To go back passes over those that are barred.
    told = json.loads(sparring("demote", "--flow", "apo", "--json"))
    assert told["champion"]["run"] == "apo-v1"
    assert "no model of 'apo-v9' is barred; barred is apo-v2" in sparring(
        "demote", "--lift-ban", "apo-v9", code=2
    )
    sparring("demote", "--lift-ban", "apo-v2")
    assert json.loads(sparring("ls", "bans", "--json")) == []


def test_a_ban_wants_a_reason_and_frees_nobody() -> None:
    for words in (("--ban", " "), ("--ban", "why", "--lift-ban", "apo-1")):
        assert "--ban wants a reason" in sparring("demote", *words, code=2)


def test_the_first_champion_stays_named_and_is_barred(home: Home) -> None:
    named(home, model(home, 1))
    said = sparring("demote", "--ban", "bad", code=2)
    assert "nobody was before it; 1 models are barred all the same" in said
    now = current_alias(home, "apo", "champion")
    assert now is not None and now.run == "apo-v1"
    (row,) = json.loads(sparring("ls", "aliases", "--json"))
    assert row["barred"].startswith("its policy is the policy of apo-v1, which ")
    shown = " ".join(sparring("ls", "aliases").split())
    assert "barred: its policy is the policy of apo-v1" in shown
    named(home, list_manifests(home)[0], "candidate")
    said = sparring("promote", "--flow", "apo", "--dry-run", code=3)
    assert "apo-v1 cannot be promoted: its policy is the policy of apo-v1" in said


def test_a_damaged_ban_is_not_replaced_in_silence(home: Home) -> None:
    named(home, model(home, 1))
    sparring("demote", "--ban", "it insults", code=2)
    (path,) = home.root.rglob("bans/apo/*.json")
    path.write_bytes(path.read_bytes().replace(b"insults", b"flatter"))
    damaged = path.read_bytes()
    assert path.name in "".join(sparring("demote", "--ban", "again", code=1).split())
    assert path.read_bytes() == damaged


class Quiet:
    """A recorder that needs no server."""

    def __init__(self, *_: object) -> None: ...
    def start(self) -> None: ...
    def close(self) -> None: ...
