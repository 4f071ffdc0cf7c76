"""Groups as token ids on disk: written once as a stream, read by row without being held in memory.

A folder of them holds, beside `index.json` with its counts and digest, flat arrays:

    ids.npy        int32    all token ids: of each group its prompt, then its responses
    edges.npy      int64    where each prompt or response ends in `ids`, with a 0 in front
    starts.npy     int64    which of these sequences each group begins with, and one past the last
    cut.npy        bool     which sequences lost tokens to the limits
    scores.npy     float32  of each response; 0 where nobody scored
    names.npy      uint8    the groups' ids as UTF-8
    name_ends.npy  int64    where each of them ends, with a 0 in front

No pickle: numpy reads them with `allow_pickle=False`, mapped into memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tasks.data.groups import Group
from tasks.models.tokens.encoding import EncodedGroup
from tasks.settings.errors import RecordError, StageError
from tasks.storage.files import open_output, read_json, write_json

_ARRAYS: dict[str, np.dtype[Any]] = {
    "ids": np.dtype(np.int32),
    "edges": np.dtype(np.int64),
    "starts": np.dtype(np.int64),
    "cut": np.dtype(np.bool_),
    "scores": np.dtype(np.float32),
    "names": np.dtype(np.uint8),
    "name_ends": np.dtype(np.int64),
}
_INDEX = "index.json"
_COUNTS = (
    *("groups", "responses", "tokens"),
    *("truncated_prompts", "truncated_responses", "merged_boundaries"),
)


class EncodedWriter:
    """Writes encoded groups into an empty folder; the index follows when the block ends well.

    Example:
        with EncodedWriter(folder) as writer:
            writer.write(group, encode(group))
    """

    def __init__(self, folder: Path) -> None:
        """Name the folder; it must exist and hold no such files."""
        self._folder, self._stack = folder, ExitStack()
        self._files: dict[str, _ArrayFile] = {}
        self._digest = hashlib.sha256()
        self.counts = dict.fromkeys(_COUNTS, 0)
        """What the index will say; whoever writes may add to it."""
        self._largest = ("", 0)

    def write(self, group: Group, encoded: EncodedGroup) -> None:
        """Append one group: its id, its scores and its token ids.

        Raises:
            RecordError: It has no response, or its prompt or a response has no token.
        """
        sequences = [encoded.prompt_ids, *encoded.responses_ids]
        if len(sequences) < 2 or not all(sequences):
            raise RecordError(
                f"group {group.title} has {len(sequences) - 1} responses, and its prompt or one of "
                "them has no token: leave such groups out of the training's data"
            )
        lengths = np.array([len(ids) for ids in sequences], dtype=np.int64)
        ids = np.concatenate([np.asarray(ids, dtype=np.int32) for ids in sequences])
        name = group.id.encode("utf-8", "surrogatepass")
        files, held = self._files, self.counts["tokens"]
        files["ids"].add(ids)
        files["edges"].add(held + lengths.cumsum())
        files["cut"].add([encoded.truncated_prompt, *encoded.truncated_responses])
        files["scores"].add(group.scores or [0.0] * len(encoded.responses_ids))
        files["names"].add(np.frombuffer(name, dtype=np.uint8))
        files["name_ends"].add([files["names"].count])
        self._digest.update(lengths.tobytes() + b"|" + ids.tobytes())
        self._count(group, encoded, int(lengths.sum()))
        files["starts"].add([self.counts["groups"] + self.counts["responses"]])

    def __enter__(self) -> EncodedWriter:
        """Open the files."""
        for name, dtype in _ARRAYS.items():
            file = self._stack.enter_context(open_output(self._folder / f"{name}.npy", "wb"))
            self._files[name] = _ArrayFile(file, dtype)
        for name in ("edges", "starts", "name_ends"):
            self._files[name].add([0])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the files and write the index; after an error there is none."""
        if kind is None:
            for file in self._files.values():
                file.finish()
        self._stack.__exit__(kind, error, trace)
        if kind is None:
            index = {
                "counts": self.counts,
                "largest": dict(zip(("group", "tokens"), self._largest, strict=True)),
                "digest": self._digest.hexdigest(),
            }
            write_json(self._folder / _INDEX, index)

    def _count(self, group: Group, encoded: EncodedGroup, tokens: int) -> None:
        self.counts["groups"] += 1
        self.counts["responses"] += len(encoded.responses_ids)
        self.counts["tokens"] += tokens
        self.counts["truncated_prompts"] += encoded.truncated_prompt
        self.counts["truncated_responses"] += sum(encoded.truncated_responses)
        self.counts["merged_boundaries"] += encoded.merged_boundaries
        if tokens > self._largest[1]:
            self._largest = (group.id, tokens)


class EncodedFolder:
    """Random access to encoded groups; memory does not grow with their number."""

    def __init__(self, path: Path) -> None:
        """Map the files of a folder that `EncodedWriter` wrote.

        Raises:
            StageError: The folder is not whole.
        """
        self.path = Path(path)
        try:
            index = read_json(self.path / _INDEX)
            self.counts: dict[str, int] = index["counts"]
            self.largest: tuple[str, int] = index["largest"]["group"], index["largest"]["tokens"]
            self.digest: str = index["digest"]
            self._arrays = {
                name: np.load(self.path / f"{name}.npy", mmap_mode="r", allow_pickle=False)
                for name in _ARRAYS
            }
        except (OSError, KeyError, ValueError) as error:
            raise StageError(
                f"{self.path} holds no encoded groups ({error}): remove it, and the stage writes "
                "it again"
            ) from error

    def __len__(self) -> int:
        """Return the number of groups."""
        return self.counts["groups"]

    def sizes(self, *, shared: bool = True) -> Sequence[int]:
        """Return how many tokens each group takes of a pass: its prompt once, or in each row."""
        return _Sizes(self._arrays["starts"], self._arrays["edges"], shared=shared)

    def encoded(self, row: int) -> EncodedGroup:
        """Return the token ids of a group, read anew from the disk."""
        first, last = self._sequences(row)
        edges = self._arrays["edges"][first : last + 1].tolist()
        flat = self._arrays["ids"][edges[0] : edges[-1]].tolist()
        ends = [edge - edges[0] for edge in edges]
        prompt, *responses = (flat[a:b] for a, b in zip(ends, ends[1:], strict=False))
        prompt_cut, *cuts = self._arrays["cut"][first:last].tolist()
        return EncodedGroup(prompt, responses, prompt_cut, cuts)

    def name(self, row: int) -> str:
        """Return the id of a group."""
        start, end = self._arrays["name_ends"][row : row + 2].tolist()
        return bytes(self._arrays["names"][start:end]).decode("utf-8", "surrogatepass")

    def responses(self, row: int) -> tuple[int, int]:
        """Return which responses of the folder a group's are: the first, and one past the last."""
        first, last = self._sequences(row)
        # Every group before this one has a prompt, which is a sequence but no response.
        return first - row, last - row - 1

    def per_slot(self, values: Tensor, rows: Sequence[int]) -> Tensor:
        """Put one value per response of the folder, shape (R,), into the slots of some groups.

        Args:
            values: In the folder's order.
            rows: B groups with at most K responses.

        Returns:
            0 in empty slots. Shape (B, K), the values' dtype.
        """
        return self._in_slots(rows, lambda start, end: values[start:end])

    def scores(self, rows: Sequence[int]) -> Tensor:
        """Return scores side by side, 0 in empty slots and where nobody scored. (B, K), float32."""
        scores = self._arrays["scores"]
        return self._in_slots(rows, lambda start, end: torch.tensor(scores[start:end].tolist()))

    def _in_slots(self, rows: Sequence[int], read: Callable[[int, int], Tensor]) -> Tensor:
        found = [read(*self.responses(row)) for row in rows]
        return pad_sequence(found, batch_first=True)

    def _sequences(self, row: int) -> tuple[int, int]:
        if not 0 <= row < len(self):
            raise IndexError(f"group {row} of {self.path}, which has {len(self)}")
        first, last = self._arrays["starts"][row : row + 2].tolist()
        return first, last


class _ArrayFile:
    """A one-dimensional .npy file of unknown length, written from front to back."""

    def __init__(self, file: IO[bytes], dtype: np.dtype[Any]) -> None:
        self._file, self._dtype, self.count = file, dtype, 0
        self._write_header()

    def add(self, values: Any) -> None:
        data = np.asarray(values, dtype=self._dtype)
        self._file.write(data.tobytes())
        self.count += len(data)

    def finish(self) -> None:
        # numpy leaves room in the header for a length that grew, so it stays as long as it was.
        self._file.seek(0)
        self._write_header()

    def _write_header(self) -> None:
        descr = np.lib.format.dtype_to_descr(self._dtype)
        header = {"descr": descr, "fortran_order": False, "shape": (self.count,)}
        np.lib.format.write_array_header_1_0(self._file, header)


class _Sizes(Sequence[int]):
    """Tokens of each group, computed when asked for."""

    def __init__(self, starts: Any, edges: Any, *, shared: bool) -> None:
        self._starts, self._edges, self._shared = starts, edges, shared

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return [self[index] for index in range(*row.indices(len(self)))]
        if not 0 <= row < len(self):
            raise IndexError(f"group {row} of {len(self)}")
        first, last = self._starts[row : row + 2].tolist()
        if self._shared:
            return int(self._edges[last] - self._edges[first])
        prompt, *responses = np.diff(self._edges[first : last + 1]).tolist()
        return len(responses) * (prompt + max(responses))
