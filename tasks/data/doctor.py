"""What can be known about data before a model is trained on it: `sparring doctor --data FILE`.

The tokenizer and the template are handed in, because this floor knows no models; without them the
statistics in tokens are None.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tasks.data.groups import Group, Prompt, first_turn_hash, normalise, prompt_hash, text_hash
from tasks.data.sources.config import SourceConfig
from tasks.data.sources.reader import BadRecord, detect_format, read_source
from tasks.data.spread import Spread, lengths_cell, share_cell
from tasks.data.tokens import HasLimits, TokenCheck, TokenStatistics

_EXAMPLES = 5


@dataclass(frozen=True)
class FileReport:
    """What was found in one file."""

    path: str
    """The file as given."""
    format: str
    """The detected format."""
    groups: int
    """Readable records."""
    prompts: int
    """Distinct prompts among them."""
    bad_records: int
    """Unreadable records, left out of everything below."""
    bad_examples: tuple[str, ...]
    """The first of them: file, line, reason."""
    duplicates: int
    """Records that repeat an earlier one."""
    identical: int
    """Comparisons in which two responses are equal."""
    tied: int
    """Comparisons whose scores are all equal."""
    empty_responses: int
    """Records with an empty response."""
    responses_per_prompt: dict[int, int]
    """How many records have K responses, by K."""
    chosen_longer: float | None
    """Share of comparisons whose best response has more characters than the worst; 0.5: no hint."""
    prompt_chars: Spread
    """Characters per prompt, all turns."""
    response_chars: Spread
    """Characters per response."""
    tokens: TokenStatistics | None
    """The statistics in tokens; None without a tokenizer."""


@dataclass(frozen=True)
class Overlap:
    """What two files share."""

    one: str
    """A file."""
    other: str
    """Another."""
    first_turns: int
    """Distinct first user turns in both."""
    prompts: int
    """Distinct whole prompts in both."""


@dataclass(frozen=True)
class DoctorReport:
    """Everything found, one report per file and one line per pair of files."""

    files: tuple[FileReport, ...]
    """In the order given."""
    overlaps: tuple[Overlap, ...]
    """Every pair of files, also those that share nothing."""

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        tree = asdict(self)
        for file in tree["files"]:
            counts = file["responses_per_prompt"]
            file["responses_per_prompt"] = {str(k): counts[k] for k in sorted(counts)}
            file["bad_examples"] = list(file["bad_examples"])
        return {"files": list(tree["files"]), "overlaps": list(tree["overlaps"])}

    def rows(self) -> list[tuple[str, ...]]:
        """Return a table: a heading row, then one row per figure with a cell per file."""
        columns = [_cells(file) for file in self.files]
        table = [("", *(file.path for file in self.files))]
        table += [(name, *(column[name] for column in columns)) for name in columns[0]]
        return table


def inspect_data(
    paths: Sequence[Path | str | SourceConfig],
    limits: HasLimits | None = None,
    tokenizer: Any = None,
    *,
    render: Callable[[Prompt], str] | None = None,
) -> DoctorReport:
    """Read files whole, streaming, and report what a training on them would meet.

    Unreadable records are in the report, whatever their share.

    Args:
        paths: Data files, or sources with a format and columns of their own.
        limits: The run's limits in tokens, for the truncation rates; a response's includes its EOS.
        tokenizer: Something with `encode(text)`, or a function from text to token ids; None skips
            the statistics in tokens.
        render: Puts a prompt into the run's template; None writes "role: content" and
            blank lines. Merges at the boundary depend on it.

    Raises:
        ConfigError: A file does not exist or its format is unknown.
        RecordError: A file breaks off.
    """
    seen: list[tuple[str, set[bytes], set[bytes]]] = []
    files = []
    for path in paths:
        source = path if isinstance(path, SourceConfig) else SourceConfig(path=str(path))
        check = None if tokenizer is None else TokenCheck(tokenizer, limits, render)
        patient = _Examination(check)
        for group in read_source(source, patient.add_bad, max_bad_share=1.0):
            patient.add(group)
        files.append(patient.report(source.label, detect_format(source)))
        seen.append((source.label, patient.turns, patient.prompts))
    overlaps = tuple(
        Overlap(one[0], other[0], len(one[1] & other[1]), len(one[2] & other[2]))
        for i, one in enumerate(seen)
        for other in seen[i + 1 :]
    )
    return DoctorReport(tuple(files), overlaps)


class _Examination:
    """Counts over one file; memory grows by hashes and lengths, not by texts."""

    def __init__(self, check: TokenCheck | None) -> None:
        self.turns: set[bytes] = set()
        self.prompts: set[bytes] = set()
        self._check = check
        self._counts: Counter[str] = Counter()
        self._sizes: Counter[int] = Counter()
        self._records: set[bytes] = set()
        self._bad_examples: list[str] = []
        self._prompt_chars, self._response_chars = array("q"), array("q")

    def add_bad(self, record: BadRecord) -> None:
        self._counts["bad"] += 1
        if len(self._bad_examples) < _EXAMPLES:
            self._bad_examples.append(str(record))

    def add(self, group: Group) -> None:
        prompt = prompt_hash(group.prompt)
        texts = [normalise(response) for response in group.responses]
        self._counts["groups"] += 1
        self._sizes[len(texts)] += 1
        self.prompts.add(bytes.fromhex(prompt))
        self.turns.add(bytes.fromhex(first_turn_hash(group.prompt)))
        record = bytes.fromhex(text_hash(prompt, *texts, repr(group.scores)))
        self._counts["duplicates"] += record in self._records
        self._records.add(record)
        self._counts["empty"] += not all(texts)
        self._prompt_chars.append(sum(len(message.content) for message in group.prompt))
        self._response_chars.extend(map(len, group.responses))
        if len(texts) > 1:
            self._compare(group, texts)
        if self._check is not None:
            self._check.add(group)

    def report(self, path: str, form: str) -> FileReport:
        counts = self._counts
        pairs = counts["ordered"]
        return FileReport(
            path=path,
            format=form,
            groups=counts["groups"],
            prompts=len(self.prompts),
            bad_records=counts["bad"],
            bad_examples=tuple(self._bad_examples),
            duplicates=counts["duplicates"],
            identical=counts["identical"],
            tied=counts["tied"],
            empty_responses=counts["empty"],
            responses_per_prompt=dict(sorted(self._sizes.items())),
            chosen_longer=round(counts["longer"] / pairs, 4) if pairs else None,
            prompt_chars=Spread.of(self._prompt_chars),
            response_chars=Spread.of(self._response_chars),
            tokens=None if self._check is None else self._check.statistics(),
        )

    def _compare(self, group: Group, texts: list[str]) -> None:
        self._counts["identical"] += len(set(texts)) < len(texts)
        if group.scores is None:
            return
        if len(set(group.scores)) == 1:
            self._counts["tied"] += 1
            return
        best = texts[max(range(len(texts)), key=group.scores.__getitem__)]
        worst = texts[min(range(len(texts)), key=group.scores.__getitem__)]
        self._counts["ordered"] += 1
        self._counts["longer"] += len(best) > len(worst)


def _cells(file: FileReport) -> dict[str, str]:
    sizes = ", ".join(f"{k}: {count:,}" for k, count in file.responses_per_prompt.items())
    cells = {
        "format": file.format,
        "records": f"{file.groups:,}",
        "distinct prompts": f"{file.prompts:,}",
        "unreadable": f"{file.bad_records:,}",
        "duplicates": f"{file.duplicates:,}",
        "identical responses": f"{file.identical:,}",
        "tied": f"{file.tied:,}",
        "empty responses": f"{file.empty_responses:,}",
        "responses per prompt": sizes,
        "best response is longer": share_cell(file.chosen_longer),
        "prompt characters": lengths_cell(file.prompt_chars),
        "response characters": lengths_cell(file.response_chars),
    }
    if file.tokens is not None:
        cells |= file.tokens.cells()
    return cells
