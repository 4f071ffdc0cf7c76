"""Rows of files that are stored by column: parquet and Arrow, read in batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.data.sources.row import Row
from tasks.settings.errors import RecordError

_BATCH = 256


def parquet_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a parquet file.

    Raises:
        RecordError: The file is damaged.
    """
    from pyarrow.parquet import ParquetFile

    def batches() -> Iterator[Any]:
        with ParquetFile(path) as table:
            yield from table.iter_batches(batch_size=_BATCH)

    return _rows(path, "parquet", batches())


def arrow_rows(path: Path, *, stream: bool) -> Iterator[Row]:
    """Yield the rows of an Arrow file, which feather files of version 2 are too.

    Args:
        path: The file.
        stream: Whether it is in Arrow's format for streams, which `datasets` writes.

    Raises:
        RecordError: The file is damaged.
    """
    from pyarrow import ipc, memory_map

    def batches() -> Iterator[Any]:
        with memory_map(str(path)) as mapped:
            if stream:
                yield from ipc.open_stream(mapped)
            else:
                file = ipc.open_file(mapped)
                yield from (file.get_batch(place) for place in range(file.num_record_batches))

    cut = (
        batch.slice(start, _BATCH)
        for batch in batches()
        for start in range(0, batch.num_rows, _BATCH)
    )
    return _rows(path, "Arrow", cut)


def _rows(path: Path, kind: str, batches: Iterator[Any]) -> Iterator[Row]:
    from pyarrow import ArrowException

    number = 0
    try:
        for batch in batches:
            for value in batch.to_pylist():
                number += 1
                yield Row(number, value)
    except (ArrowException, OSError) as error:
        problem = f"{path} is a damaged {kind} file after row {number}: {error}"
        raise RecordError(problem) from error
