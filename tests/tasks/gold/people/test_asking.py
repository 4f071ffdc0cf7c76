"""A stage that asks people: it waits, says for what, and is closed once with what it used."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from flows.cli.asked_people import show_asked_people
from tasks.ask_people import ask_people
from tasks.collect_gold import collect_gold
from tasks.data.files import read_groups, write_groups
from tasks.data.groups import Group, Message
from tasks.gold.collection import GoldConfig
from tasks.gold.people.asking import SUBMISSIONS
from tasks.gold.people.batch import Batch, batch_names
from tasks.gold.people.config import PeopleConfig
from tasks.stages.artifact import Artifact, external_artifact
from tasks.stages.leases.lease import unclaimed
from tasks.stages.runs.context import RunContext, entered
from tasks.storage.errors import CorruptError
from tasks.storage.home import Home

QUERIES = ["What is tea?", "=1+1?", "<script>alert(1)</script>"]


@pytest.fixture
def queries(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artifact:
    """Three queries, in a folder in which people are asked."""
    monkeypatch.chdir(tmp_path)
    write_groups(tmp_path / "queries", [Group((Message("user", text),)) for text in QUERIES])
    return external_artifact(tmp_path / "queries")


def asked(home: Home, queries: Artifact, config: PeopleConfig) -> tuple[Artifact, str]:
    """Ask, as a run does; return what came, and what is waited for."""
    run = RunContext(home, "run-1")
    with entered(run):
        found = ask_people(queries, config=config)
    return found, "".join(record.error for record in run.awaits)


def hand_in(home: Home, name: str, **answers: str) -> None:
    """Fill in a copy of the questions for the queries that hold a word, and put it in its place."""
    (batch,) = batch_names(home)
    place = Path("people", batch)
    rows = csv.DictReader(io.StringIO((place / "questions.csv").read_text("utf-8-sig")))
    out = io.StringIO()
    table = csv.DictWriter(out, ["id", "response"], extrasaction="ignore")
    table.writeheader()
    for row in rows:
        given = [text for word, text in answers.items() if word in row["prompt"]]
        table.writerow({"id": row["id"], "response": "".join(given)})
    (place / "answers" / name).write_text(out.getvalue(), encoding="utf-8")


def test_it_waits_until_the_quorum_is_reached_and_what_it_used_stays(
    home: Home, queries: Artifact, capsys: pytest.CaptureFixture[str]
) -> None:
    config = PeopleConfig(quorum=2)
    found, why = asked(home, queries, config)
    assert found.is_pending and "6 answers are missing to 3 of 3 questions, 2 people each" in why
    hand_in(home, "anna.csv", tea="A drink.", alert="No.")
    hand_in(home, "ben.csv", tea="Leaves in water.", alert="None.", **{"1+1": "2"})
    (batch,) = batch_names(home)
    Path("people", batch, "answers", "old.csv").write_bytes("id,response\nq,Köln".encode("latin1"))
    found, why = asked(home, queries, config)
    assert "1 answer is missing to 1 of 3 questions, 2 people each (5 came)" in why
    assert "1 malformed row does not count: old.csv is not UTF-8 (line 2)" in why
    show_asked_people(Console(width=200), as_json=True)
    assert json.loads(capsys.readouterr().out)["people"][0]["state"] == "waiting"
    hand_in(home, "anna.csv", tea="A hot drink.", alert="No.", **{"1+1": "two"})
    show_asked_people(Console(width=200), as_json=False)
    assert "answered" in (told := capsys.readouterr().out) and "`sparring resume`" in told
    found, why = asked(home, queries, config)
    assert not why and found.metrics["answers"] == 6 and found.metrics["superseded"] == 1
    groups = {one.prompt[0].content: one for one in read_groups(found.part("groups").path)}
    tea = groups["What is tea?"]
    assert (tea.responses, tea.sources) == (("A hot drink.", "Leaves in water."), ("anna", "ben"))
    used = (found.path / SUBMISSIONS).read_text().splitlines()
    assert len(used) == 6 and json.loads(used[0])["person"] == "anna"

    # What comes now is late: kept, and used by nobody.
    hand_in(home, "ben.csv", tea="Late.")
    again, _ = asked(home, queries, config)
    assert again.digest == found.digest
    late = Batch.load(home, batch)
    late.take_in()
    assert late.standing().late == 3 and len(late.submissions()) == 10
    show_asked_people(Console(width=200), as_json=True)
    (told,) = json.loads(capsys.readouterr().out)["people"]
    assert (told["set"], told["state"]) == (batch, "closed")
    assert (told["complete"], told["missing"], told["late"], told["malformed"]) == (3, 0, 3, 1)
    assert told["problems"][0].startswith("old.csv is not UTF-8 (line 2)")
    # Where more people are wanted, the same answers serve, the late ones too.
    more, why = asked(home, queries, PeopleConfig(quorum=3))
    assert more.is_pending and "missing to 3 of 3 questions, 3 people each (4 came" in why


def test_what_was_told_lies_beside_the_questions(home: Home, queries: Artifact) -> None:
    asked(home, queries, PeopleConfig(instructions="Write as to a friend.", quorum=2))
    (batch,) = batch_names(home)
    told = Path("people", batch, "README.md").read_text()
    for words in ("Write as to a friend.", "3 questions", "column `response`", "2 people are"):
        assert words in told


def test_an_answer_that_is_gone_or_spoilt_counts_and_that_is_said(
    home: Home, queries: Artifact, capsys: pytest.CaptureFixture[str]
) -> None:
    config = PeopleConfig(quorum=2)
    asked(home, queries, config)
    hand_in(home, "anna.csv", tea="A drink.", alert="No.")
    hand_in(home, "ben.csv", tea="Leaves.")
    (batch,) = batch_names(home)
    answers = Path("people", batch, "answers")
    asked(home, queries, config)
    (answers / "anna.csv").unlink()
    (answers / "ben.csv").write_bytes("id,response\nq,Köln".encode("latin1"))
    _, why = asked(home, queries, config)
    assert "(3 came)" in why and "3 answers count that are gone, 1 malformed row" in why
    assert "anna's last valid answer still counts, though it is found nowhere any more" in why
    show_asked_people(Console(width=200), as_json=True)
    (told,) = json.loads(capsys.readouterr().out)["people"]
    assert told["gone"] == 3 and "ben's last valid answer still counts" in told["problems"][1]
    # To empty the cell takes it back.
    hand_in(home, "anna.csv", alert="No.")
    hand_in(home, "ben.csv", tea="Leaves.")
    _, why = asked(home, queries, config)
    assert "(2 came" in why and "still counts" not in why


def test_questions_that_are_filled_in_where_they_lie_are_told(
    home: Home, queries: Artifact
) -> None:
    asked(home, queries, PeopleConfig())
    (batch,) = batch_names(home)
    hand_in(home, "anna.csv", tea="A drink.")
    place = Path("people", batch)
    (place / "answers" / "anna.csv").replace(place / "questions.csv")
    _, why = asked(home, queries, PeopleConfig())
    assert "none came" in why
    assert "questions.csv: 1 of its rows are filled in, and nobody reads them here: move it" in why


def test_a_damaged_set_hides_no_other(
    home: Home, queries: Artifact, capsys: pytest.CaptureFixture[str]
) -> None:
    asked(home, queries, PeopleConfig(instructions="One."))
    asked(home, queries, PeopleConfig(instructions="Two."))
    first, second = batch_names(home)
    (home.people / first / "submissions.journal").write_bytes(b"nothing\nof ours\n")
    with pytest.raises(CorruptError, match=first):
        show_asked_people(Console(width=200), as_json=True)
    told = {one["set"]: one for one in json.loads(capsys.readouterr().out)["people"]}
    assert (told[first]["state"], told[second]["state"]) == ("unreadable", "waiting")
    assert "submissions.journal" in told[first]["problems"][0]
    with pytest.raises(CorruptError, match=first):
        show_asked_people(Console(width=200), as_json=False)
    assert second in capsys.readouterr().out
    (home.people / first / "batch.json").write_text('{"key": "k", "config": {"prompts": 4}}')
    with pytest.raises(CorruptError, match="of another version of Sparring: .*prompts"):
        show_asked_people(Console(width=200), as_json=False)
    assert second in capsys.readouterr().out


def test_nothing_is_held_while_it_waits(home: Home, queries: Artifact) -> None:
    pending, _ = asked(home, queries, PeopleConfig())
    with unclaimed(home.leases, pending.key) as is_free:
        assert is_free


def test_people_are_gold(home: Home, queries: Artifact) -> None:
    """A share of the questions may do; what has no answer is counted as for every source."""
    people = PeopleConfig(enough=0.6)
    asked(home, queries, people)
    hand_in(home, "anna.csv", tea="A drink.", alert="No.")
    found, _ = asked(home, queries, people)
    config = GoldConfig(provider="people", people=people, dev_share=0, max_unanswered_share=0.34)
    with entered(RunContext(home, "run-1")):
        gold = collect_gold(queries, found.part("groups"), None, config=config)
    assert (gold.metrics["answered"], gold.metrics["unanswered"]) == (2, 1)
    texts = {one.responses[0] for one in read_groups(gold.part("train").path)}
    assert texts == {"A drink.", "No."}


def test_the_questions_that_people_get_run_in_no_spreadsheet(home: Home, queries: Artifact) -> None:
    asked(home, queries, PeopleConfig())
    (batch,) = batch_names(home)
    text = Path("people", batch, "questions.csv").read_text("utf-8-sig")
    assert ",'=1+1?," in text
