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
from tasks.data.cleaning import Cleaner
from tasks.data.groups import Group, Prompt, first_turn_hash, normalise, prompt_hash
from tasks.data.inspection.doctor_report import DoctorReport, Overlap
from tasks.data.inspection.file_report import FileReport, Reason
from tasks.data.inspection.spread import Spread
from tasks.data.inspection.tokens import HasLimits, TokenCheck
from tasks.data.sources.config import SourceConfig
from tasks.data.sources.reader import read_source
from tasks.data.sources.tally import MAX_BAD_SHARE, Tally
from tasks.settings.errors import ConfigError, RecordError


def inspect_data(
    paths: Sequence[Path | str | SourceConfig],
    limits: HasLimits | None = None,
    tokenizer: Any = None,
    *,
    render: Callable[[Prompt], str] | None = None,
    max_bad_share: float = MAX_BAD_SHARE,
) -> DoctorReport:
    """Read files whole, streaming, and report what a training on them would meet.

    Args:
        paths: As for `Inspection`.
        limits: The run's limits in tokens, for the truncation rates; a response's includes its EOS.
        tokenizer: As for `Inspection`.
        render: As for `Inspection`.
        max_bad_share: Largest share of unreadable records that the run lets pass.

    Raises:
        ConfigError: A file does not exist or its format is unknown.
        RecordError: A file breaks off.
    """
    return Inspection(paths, tokenizer, render=render).report(limits, max_bad_share)


class Inspection:
    """What was found in files that were read whole, before it is known what a run would allow."""

    def __init__(
        self,
        paths: Sequence[Path | str | SourceConfig],
        tokenizer: Any = None,
        *,
        render: Callable[[Prompt], str] | None = None,
    ) -> None:
        """Read the files; unreadable records are counted, whatever their share.

        Args:
            paths: Data files, or sources with a format and columns of their own.
            tokenizer: Something with `encode(text)`, or a function from text to token ids; None
                skips the statistics in tokens.
            render: Puts a prompt into the run's template; None writes "role: content" and
                blank lines. Merges at the boundary depend on it. A prompt that it refuses by a
                ConfigError counts as unreadable.

        Raises:
            ConfigError: A file does not exist or its format is unknown.
            RecordError: A file breaks off.
        """
        check = None if render is None else refusing(render)
        self._files: list[tuple[str, _Examination]] = []
        for path in paths:
            source = path if isinstance(path, SourceConfig) else SourceConfig(path=str(path))
            patient = _Examination(None if tokenizer is None else TokenCheck(tokenizer, render))
            for group in read_source(
                source, patient.bad.add, max_bad_share=1.0, tally=patient.tally, check=check
            ):
                patient.add(group)
            self._files.append((source.label, patient))

    def report(
        self, limits: HasLimits | None = None, max_bad_share: float = MAX_BAD_SHARE
    ) -> DoctorReport:
        """Return everything found, judged by what a run would allow.

        Args:
            limits: The run's limits in tokens, for the truncation rates.
            max_bad_share: Largest share of unreadable records that the run lets pass.
        """
        overlaps = tuple(
            Overlap(name, other, len(one.turns & two.turns), len(one.prompts & two.prompts))
            for i, (name, one) in enumerate(self._files)
            for other, two in self._files[i + 1 :]
        )
        files = (one.report(name, limits, max_bad_share) for name, one in self._files)
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
        # What a run would do with a record depends on how many responses it has.
        self._cleaners = {needs: Cleaner(needs) for needs in (0, 1, 2)}
        self._kept: Counter[int] = Counter()
        self._counts: Counter[str] = Counter()
        self._sizes: Counter[int] = Counter()
        self._prompt_chars, self._response_chars = array("q"), array("q")

    def add(self, group: Group) -> None:
        self._sizes[len(group.responses)] += 1
        self.prompts.add(bytes.fromhex(prompt_hash(group.prompt)))
        self.turns.add(bytes.fromhex(first_turn_hash(group.prompt)))
        needs = min(len(group.responses), 2)
        self._kept[needs] += len(list(self._cleaners[needs].clean([group])))
        self._prompt_chars.append(sum(len(message.content) for message in group.prompt))
        self._response_chars.extend(map(len, group.responses))
        if group.scores is not None and len(set(group.scores)) > 1:
            self._compare(group, group.scores)
        if self._check is not None:
            self._check.add(group)

    def report(self, path: str, limits: HasLimits | None, max_bad_share: float) -> FileReport:
        counts = self._counts
        forms = dict(self.tally.forms.most_common())
        reasons = [Reason(one.count, str(one.first[0]), str(one)) for one in self.bad.reasons()]
        pairs = counts["ordered"]
        dropped = sum((one.dropped for one in self._cleaners.values()), Counter[str]())
        compared = any(size > 1 for size in self._sizes)
        if compared and (alone := self._kept[0] + self._kept[1]):
            dropped["no_comparison"] += alone
        return FileReport(
            path=path,
            format=next(iter(forms), "unknown"),
            forms=forms,
            groups=self._sizes.total(),
            prompts=len(self.prompts),
            bad_records=self.bad.count,
            max_bad_share=max_bad_share,
            bad_examples=tuple(reason.example for reason in reasons),
            bad_reasons=tuple(reasons),
            left_out=dict(self.tally.left_out),
            ignored_columns=dict(self.tally.ignored.most_common()),
            dropped=dict(dropped.most_common()),
            responses_per_prompt=dict(sorted(self._sizes.items())),
            chosen_longer=round(counts["longer"] / 2 / pairs, 4) if pairs else None,
            prompt_chars=Spread.of(self._prompt_chars),
            response_chars=Spread.of(self._response_chars),
            tokens=None if self._check is None else self._check.statistics(limits),
        )

    def _compare(self, group: Group, scores: tuple[float, ...]) -> None:
        texts = [normalise(response) for response in group.responses]
        best = texts[max(range(len(texts)), key=scores.__getitem__)]
        worst = texts[min(range(len(texts)), key=scores.__getitem__)]
        self._counts["ordered"] += 1
        self._counts["longer"] += 1 + (len(best) > len(worst)) - (len(best) < len(worst))
