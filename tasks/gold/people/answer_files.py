"""Questions as plain files, and answers from files that people put beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tasks.gold.people.sheets import SUFFIXES, read_sheet, write_csv, write_jsonl
from tasks.gold.people.submissions import Handed
from tasks.settings.errors import RecordError
from tasks.storage.durable import make_folder
from tasks.storage.files import write_atomic

ANSWERS = "answers"
"""Folder of what people hand in, beside the questions."""
_QUESTIONS = "questions"


def lay_out(folder: Path, rows: Sequence[Mapping[str, str]], told: str) -> None:
    """Write `questions.jsonl` and `questions.csv` unless they are there, and `README.md`.

    Args:
        folder: Is made.
        rows: The questions, with the empty columns that people fill in.
        told: What people are told, as `README.md` says it.
    """
    make_folder(folder / ANSWERS)
    write_atomic(folder / "README.md", told)
    for name, write in (("questions.jsonl", write_jsonl), ("questions.csv", write_csv)):
        if not (folder / name).exists():
            write(folder / name, rows)


def read_answers(folder: Path, column: str, refused: list[str]) -> Iterator[Handed]:
    """Yield the rows of all files of answers, by the files' names.

    A row without `annotator` is by whom its file is named after. A file that cannot be read is
    refused with a sentence in `refused`, and what is behind the damage does not count.

    Args:
        folder: The questions', with the folder of answers in it.
        column: That people fill in; the questions themselves have it empty.
        refused: Receives the sentences.
    """
    for path in sorted(folder.glob("*")):
        if path.suffix.lower() in SUFFIXES and (why := _misplaced(path, column)):
            refused.append(f"{_shown(path)}: {why}")
    for path in sorted((folder / ANSWERS).glob("*")):
        name = path.name
        if name.startswith((".", "~")):
            continue  # what a spreadsheet that is open leaves beside a file
        if not path.is_file() or name != _shown(path):
            what = "it is no file" if name == _shown(path) else "its name is not UTF-8"
            refused.append(f"{_shown(path)}: {what}: answers are files in {ANSWERS}/ itself")
            continue
        if path.suffix.lower() not in SUFFIXES:
            refused.append(f"{name}: not {', '.join(SUFFIXES)}: save it as one of them")
            continue
        try:
            for row in read_sheet(path):
                yield Handed(name, f"line {row.line}", row.fields, path.stem, row.problem)
        except (RecordError, OSError) as error:
            refused.append(str(error).replace(str(path), name))


def _misplaced(path: Path, column: str) -> str:
    """Return why a file beside the folder of answers is in a wrong place; empty for questions."""
    if path.stem != _QUESTIONS:
        return f"it lies beside {ANSWERS}/: move it in there"
    try:
        rows = [row.fields for row in read_sheet(path) if row.fields]
    except (RecordError, OSError):
        return f"it was changed, and cannot be read: move it into {ANSWERS}/ under your name"
    filled = sum(bool(str(row.get(column) or "").strip()) for row in rows)
    where = f"move it into {ANSWERS}/ under your name, such as {ANSWERS}/anna{path.suffix}"
    return f"{filled} of its rows are filled in, and nobody reads them here: {where}" * bool(filled)


def _shown(path: Path) -> str:
    """Return a file's name as it can be written down."""
    return path.name.encode(errors="replace").decode()
