"""What people were asked, how far it is, and what came late or could not be used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from flows.runs.console import print_json
from flows.runs.tables import columns
from tasks.gold.people.asking import page_of
from tasks.gold.people.batch import Batch, Standing, batch_names
from tasks.settings.errors import SparringError
from tasks.storage.errors import StorageError
from tasks.storage.home import Home, current_home

_COUNTS = ("missing", "superseded", "gone", "late", "malformed", "unknown")
_UNREAD: Mapping[str, Any] = {
    "state": "unreadable",
    **dict.fromkeys(("quorum", *Standing._fields, *_COUNTS)),
    "folder": "",
    "page": "",
    "page_problem": "",
}
"""What is said of a set of questions that cannot be read."""


def show_asked_people(console: Console, *, as_json: bool) -> None:
    """Take in what people handed in since the last look, and print how each set of questions is.

    A set that cannot be read is named, and hides no other.

    Raises:
        ConfigError: The token for a Label Studio is missing or refused.
        CorruptError: What was kept of a set is damaged.
    """
    home, failed = current_home(), []
    found = []
    for name in batch_names(home):
        try:
            found.append(_state(home, name))
        except (SparringError, StorageError) as error:
            failed.append(error)
            found.append({**_UNREAD, "set": name, "problems": [str(error)]})
    _show(found, console, as_json=as_json)
    if failed:
        raise failed[0]


def _show(found: list[dict[str, Any]], console: Console, *, as_json: bool) -> None:
    if as_json:
        print_json({"people": found})
        return
    if not found:
        console.print("nobody is asked here: docs/how-to/people.md says how", highlight=False)
        return
    rows = [
        {
            "set": one["set"],
            "state": one["state"],
            "answered": "" if one["asked"] is None else f"{one['complete']}/{one['asked']}",
            **{name: "" if one[name] is None else str(one[name]) for name in _COUNTS},
        }
        for one in found
    ]
    console.print(columns(rows, folded={"set"}))
    for one in found:
        if one["state"] == "answered":
            text = f"{one['set']}: enough is answered: `sparring resume` of its run goes on with it"
            console.print(text, highlight=False, markup=False, soft_wrap=True)
        for sentence in (*one["problems"], *filter(None, [one["page_problem"]])):
            text = f"{one['set']}: {sentence}"
            console.print(text, highlight=False, markup=False, soft_wrap=True)
        if not one["folder"]:
            continue
        where = f"{one['set']}: {one['folder']}"
        text = f"{where} and {one['page']}" if one["page"] else where
        console.print(text, highlight=False, markup=False, soft_wrap=True)


def _state(home: Home, name: str) -> dict[str, Any]:
    batch = Batch.load(home, name)
    page = page_of(batch)
    look = batch.take_in(page.take() if page else ())
    standing = batch.standing()
    state = "answered" if standing.is_enough(batch.config.enough) else "waiting"
    return {
        "set": name,
        "state": "closed" if batch.is_closed else state,
        "quorum": batch.config.quorum,
        **standing._asdict(),
        "malformed": look.malformed,
        "unknown": look.unknown,
        "gone": look.gone,
        "problems": list(look.problems),
        "folder": str(batch.place),
        "page": page.address if page else "",
        "page_problem": page.problem if page else "",
    }
