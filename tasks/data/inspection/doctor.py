"""What can be known about data before a model is trained on it: `sparring doctor --data FILE`.

The tokenizer and the template are handed in, because this floor knows no models; without them the
statistics in tokens are None.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tasks.data.bad_records import BadRecords
from tasks.data.groups import Group, Prompt, first_turn_hash, normalise, prompt_hash, text_hash
from tasks.data.inspection.doctor_report import DoctorReport, Overlap
from tasks.data.inspection.file_report import FileReport, Reason
from tasks.data.inspection.spread import Spread
from tasks.data.inspection.tokens import HasLimits, TokenCheck
from tasks.data.sources.config import SourceConfig
from tasks.data.sources.reader import read_source
from tasks.data.sources.tally import Tally
from tasks.settings.errors import ConfigError, RecordError


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
            blank lines. Merges at the boundary depend on it. A prompt that it refuses by a
            ConfigError counts as unreadable.

    Raises:
        ConfigError: A file does not exist or its format is unknown.
        RecordError: A file breaks off.
    """
    check = None if render is None else refusing(render)
    seen: list[tuple[str, set[bytes], set[bytes]]] = []
    files = []
    for path in paths:
        source = path if isinstance(path, SourceConfig) else SourceConfig(path=str(path))
        tokens = None if tokenizer is None else TokenCheck(tokenizer, limits, render)
        patient = _Examination(tokens)
        for group in read_source(
            source, patient.bad.add, max_bad_share=1.0, tally=patient.tally, check=check
        ):
            patient.add(group)
        files.append(patient.report(source.label))
        seen.append((source.label, patient.turns, patient.prompts))
    overlaps = tuple(
        Overlap(one[0], other[0], len(one[1] & other[1]), len(one[2] & other[2]))
        for i, one in enumerate(seen)
        for other in seen[i + 1 :]
    )
    return DoctorReport(tuple(files), overlaps)


def refusing(render: Callable[[Prompt], str]) -> Callable[[Group], None]:
    """Return what raises RecordError for a group whose prompt cannot be written.

    Args:
        render: Writes a prompt, or raises ConfigError as a strict chat template does.
    """

    def check(group: Group) -> None:
        try:
            render(group.prompt)
        except ConfigError as error:
            raise RecordError(str(error)) from error

    return check


class _Examination:
    """Counts over one file; memory grows by hashes and lengths, not by texts."""

    def __init__(self, check: TokenCheck | None) -> None:
        self.bad, self.tally = BadRecords(), Tally()
        self.turns: set[bytes] = set()
        self.prompts: set[bytes] = set()
        self._check = check
        self._counts: Counter[str] = Counter()
        self._sizes: Counter[int] = Counter()
        self._records: set[bytes] = set()
        self._prompt_chars, self._response_chars = array("q"), array("q")

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

    def report(self, path: str) -> FileReport:
        counts = self._counts
        forms = dict(self.tally.forms.most_common())
        reasons = [Reason(count, str(first)) for count, first in self.bad.reasons()]
        pairs = counts["ordered"]
        return FileReport(
            path=path,
            format=next(iter(forms), "unknown"),
            forms=forms,
            groups=counts["groups"],
            prompts=len(self.prompts),
            bad_records=self.bad.count,
            bad_examples=tuple(reason.example for reason in reasons),
            bad_reasons=tuple(reasons),
            left_out=dict(self.tally.left_out),
            ignored_columns=dict(self.tally.ignored.most_common()),
            duplicates=counts["duplicates"],
            identical=counts["identical"],
            tied=counts["tied"],
            empty_responses=counts["empty"],
            responses_per_prompt=dict(sorted(self._sizes.items())),
            chosen_longer=round(counts["longer"] / 2 / pairs, 4) if pairs else None,
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
        self._counts["longer"] += 1 + (len(best) > len(worst)) - (len(best) < len(worst))
