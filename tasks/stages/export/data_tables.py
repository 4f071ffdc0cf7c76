"""Groups leave as parquet files that TRL's trainers and `datasets` read, with a card for the hub.

Everything streams: the groups are read once to see what they are, and once for each form in a part.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import combinations, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.data.files import INDEX, read_groups
from tasks.data.groups import prompt_hash
from tasks.evaluation.report.tables import Column, Table, to_markdown
from tasks.settings.errors import StageError
from tasks.stages.export.card import (
    CARD,
    Delivery,
    card_text,
    code_block,
    licence_text,
    made_how,
    made_of,
    title_of,
)
from tasks.stages.export.row_forms import FORMS, GROUPS, Row, RowForm, form_of, is_plain, schema
from tasks.storage.files import open_output, write_atomic

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH = 1000
"""Rows in memory, and in a row group of the file."""
_WHOLE = "train"
"""Name of the split of data that has no parts."""

_USE = """
from datasets import load_dataset

name = {name}  # this folder, from the one above it, or its name on the hub
rows = load_dataset(name, "{form}", split="{split}")
print(rows[0])
"""

Contents = dict[RowForm, dict[str, int]]
"""Rows by form and part."""


def write_tables(
    out: Delivery, *, whole: bool = False, messages: bool = False, keep_scores: bool = False
) -> dict[str, Any]:
    """Write every part of a data set as parquet, and its card.

    Args:
        out: The data set; each folder of groups in it is a part.
        whole: Write the groups' own fields instead of TRL's columns.
        messages: Write messages where every prompt is one plain turn too.
        keep_scores: As in `form_of`.

    Returns:
        `rows` by `FORM/PART`, and whether they are `conversational`.

    Raises:
        StageError: There is not a single group.
    """
    found, chat, prompts = _forms(out, keep_scores)
    chat = chat or messages or whole
    made: Contents = {}
    for part, forms in found.items():
        split = _split(part)
        for form in [GROUPS] if whole else forms:
            groups = read_groups(out.source / part)
            wanted = (one for one in groups if whole or form_of(one, keep_scores) is form)
            rows = (row for group in wanted for row in form.rows(group, chat))
            path = out.folder / form.name / f"{split}.parquet"
            made.setdefault(form, {})[split] = _write(path, schema(form, chat), rows)
    if not made:
        raise StageError(f"{title_of(out.origins)} holds no groups: there is nothing to export")
    contents = {form: made[form] for form in FORMS if form in made}
    write_atomic(out.folder / CARD, data_card(out, contents, prompts, chat=chat))
    rows_by_file = {
        f"{form.name}/{split}": count
        for form, splits in contents.items()
        for split, count in splits.items()
    }
    return {"rows": rows_by_file, "conversational": chat}


def data_card(
    out: Delivery, contents: Contents, prompts: Mapping[str, set[bytes]], *, chat: bool
) -> str:
    """Return the card of a data set.

    Args:
        out: The data set.
        contents: How many rows it has.
        prompts: Hashes of the prompts in each split.
        chat: Whether texts are messages.
    """
    from huggingface_hub import DatasetCardData

    files = {
        form.name: [{"split": split, "path": f"{form.name}/{split}.parquet"} for split in splits]
        for form, splits in contents.items()
    }
    front = DatasetCardData(
        license=out.licence,
        tags=["sparring", "trl"],
        configs=[{"config_name": name, "data_files": some} for name, some in files.items()],
    )
    texts = "lists of messages with `role` and `content`" if chat else "plain strings"
    first = next(iter(contents))
    use = _USE.format(
        name=json.dumps(out.name, ensure_ascii=False),
        form=first.name,
        split=next(iter(contents[first])),
    )
    return card_text(
        front,
        title_of(out.origins),
        [
            ("", f"Texts are {texts}.\n\n{_table(contents)}"),
            ("Use", code_block("python", use)),
            ("Splits", _overlaps(prompts)),
            ("Licence", licence_text(out.licence)),
            ("Made of", made_of(out.origins)),
            ("Made how", made_how(out.origins)),
        ],
    )


def _forms(
    out: Delivery, keep_scores: bool
) -> tuple[dict[str, list[RowForm]], bool, dict[str, set[bytes]]]:
    """Read all groups: the forms of each part, whether any prompt is a dialogue, all prompts."""
    found: dict[str, dict[RowForm, None]] = {}
    prompts: dict[str, set[bytes]] = {}
    chat = False
    inside = [Path(file.path) for file in out.origins.manifest.files]
    for part in (path.parent.as_posix() for path in inside if path.name == INDEX):
        for group in read_groups(out.source / part):
            found.setdefault(part, {})[form_of(group, keep_scores)] = None
            chat = chat or not is_plain(group)
            prompts.setdefault(_split(part), set()).add(bytes.fromhex(prompt_hash(group.prompt)))
    return {part: list(forms) for part, forms in found.items()}, chat, prompts


def _split(part: str) -> str:
    return _WHOLE if part == "." else part.replace("/", "_")


def _overlaps(prompts: Mapping[str, set[bytes]]) -> str:
    """Say which splits share prompts: what learnt from one is not measured on the other."""
    rows = tuple(
        (one, other, shared)
        for one, other in combinations(prompts, 2)
        if (shared := len(prompts[one] & prompts[other]))
    )
    if not rows:
        return "No two splits share a prompt." if len(prompts) > 1 else ""
    columns = (Column("split"), Column("shares prompts with"), Column("how many", ","))
    note = "What was trained on one of them says nothing when it is measured on the other."
    return to_markdown(Table("", "Splits that share prompts", columns, rows, note))


def _write(path: Path, columns: pa.Schema, rows: Iterator[Row]) -> int:
    """Write rows as one parquet file, a batch at a time, and return how many there are."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    count = 0
    with open_output(path, "wb") as out, ParquetWriter(out, columns) as writer:
        while batch := list(islice(rows, _BATCH)):
            writer.write_table(pa.Table.from_pylist(batch, columns))
            count += len(batch)
    return count


def _table(contents: Contents) -> str:
    rows = tuple(
        (form.name, split, count, ", ".join(form.columns), form.reads)
        for form, splits in contents.items()
        for split, count in splits.items()
    )
    names = ("configuration", "split", "rows", "columns", "who reads it")
    return to_markdown(Table("", "Contents", tuple(Column(name, ",") for name in names), rows))
