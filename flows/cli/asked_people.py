"""What people were asked, how far it is, and what came late or could not be used."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from flows.runs.console import print_json
from flows.runs.tables import columns
from tasks.gold.people.asking import page_of
from tasks.gold.people.batch import Batch, batch_names
from tasks.storage.home import Home, current_home


def show_asked_people(console: Console, *, as_json: bool) -> None:
    """Take in what people handed in since the last look, and print how each set of questions is.

    Raises:
        ConfigError: The token for a Label Studio is missing or refused.
    """
    home = current_home()
    found = [_state(home, name) for name in batch_names(home)]
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
            "answered": f"{one['complete']}/{one['asked']}",
            "missing": str(one["missing"]),
            "superseded": str(one["superseded"]),
            "late": str(one["late"]),
            "malformed": str(one["malformed"]),
            "unknown": str(one["unknown"]),
        }
        for one in found
    ]
    console.print(columns(rows, folded={"set"}))
    for one in found:
        for sentence in (*one["problems"], *filter(None, [one["page_problem"]])):
            text = f"{one['set']}: {sentence}"
            console.print(text, highlight=False, markup=False, soft_wrap=True)
        where = f"{one['set']}: {one['folder']}"
        text = f"{where} and {one['page']}" if one["page"] else where
        console.print(text, highlight=False, markup=False, soft_wrap=True)


def _state(home: Home, name: str) -> dict[str, Any]:
    batch = Batch.load(home, name)
    page = page_of(batch)
    look = batch.take_in(page.take() if page else ())
    return {
        "set": name,
        "state": "closed" if batch.is_closed else "waiting",
        "quorum": batch.config.quorum,
        **batch.standing()._asdict(),
        "malformed": look.malformed,
        "unknown": look.unknown,
        "problems": list(look.problems),
        "folder": str(batch.place),
        "page": page.address if page else "",
        "page_problem": page.problem if page else "",
    }
