"""From the user's plain texts to a corpus, labelled texts, and texts to cut prompts off.

Everything streams; memory grows by a hash per text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tasks.data.bad_records import BadRecords
from tasks.data.files import GroupWriter
from tasks.data.groups import Group
from tasks.data.sources.config import SourceConfig
from tasks.data.sources.reader import read_source
from tasks.data.text_config import TextsConfig
from tasks.settings.errors import ConfigError
from tasks.settings.log import Log

_MEASURING = ("held_out", "test_prompts")
PARTS = (*_MEASURING, "prompts", "labelled", "corpus")
"""The folders that `prepare_texts` writes, in this order; each is a group folder."""
_WORD = re.compile(r"\s*\S+")


def prepare_texts(config: TextsConfig, output: Path, log: Log) -> dict[str, float]:
    """Write `PARTS` as folders of groups with an empty prompt and one response.

    Returns:
        Groups per part, and under `dropped/PART/…` and `bad_records` what was left out: `empty`,
        `repeated` in the part, `unlabelled`, `in_held_out`, `in_test_prompts`, `in_prompts`.

    Raises:
        ConfigError: A source does not exist, or a part that has sources stays empty.
        RecordError: Too many records of a source cannot be read.
    """
    # A missing file is found before the first byte is written.
    config.local_files()
    run = _Preparation(config, log)
    metrics: dict[str, float] = {}
    for part in PARTS:
        with GroupWriter(output / part, config.shard_size) as writer:
            for group in run.texts(part):
                for piece in _pieces(group, config.piece_words) if part == "corpus" else [group]:
                    writer.write(piece)
        if getattr(config, part) and not writer.count:
            raise ConfigError(
                f"nothing is left for {part} ({_sentence(run.dropped[part])}): give other sources"
            )
        metrics[part] = float(writer.count)
        dropped = sorted(run.dropped[part].items())
        metrics |= {f"dropped/{part}/{reason}": float(count) for reason, count in dropped}
    log.note(", ".join(f"{int(metrics[part])} in {part}" for part in PARTS))
    return metrics | {"bad_records": float(run.bad.count)}


class _Preparation:
    """The state of one `prepare_texts`: what was seen, dropped and unreadable."""

    def __init__(self, config: TextsConfig, log: Log) -> None:
        self.config, self.log = config, log
        self.dropped: dict[str, Counter[str]] = {part: Counter() for part in PARTS}
        self.bad = BadRecords()
        self._seen: dict[str, set[bytes]] = {part: set() for part in PARTS}

    def texts(self, part: str) -> Iterator[Group]:
        """Yield the texts that a part keeps, each once."""
        needs_label = part in ("held_out", "labelled")
        for group in self._read(getattr(self.config, part)):
            digest = bytes.fromhex(group.id)
            if reason := self._reason(part, group, digest, needs_label):
                self.dropped[part][reason] += 1
                continue
            self._seen[part].add(digest)
            yield group

    def _reason(self, part: str, group: Group, digest: bytes, needs_label: bool) -> str:
        if not group.responses[0]:
            return "empty"
        if needs_label and group.scores is None:
            return "unlabelled"
        if digest in self._seen[part]:
            return "repeated"
        for measuring in () if part in _MEASURING else _MEASURING:
            if digest in self._seen[measuring]:
                return f"in_{measuring}"
        # What the policy is asked to continue, it must not have read.
        return "in_prompts" if part == "corpus" and digest in self._seen["prompts"] else ""

    def _read(self, sources: list[SourceConfig]) -> Iterator[Group]:
        for source in sources:
            yield from read_source(source, self.bad.add, max_bad_share=self.config.max_bad_share)


def _pieces(group: Group, words: int) -> Iterator[Group]:
    """Cut a text into pieces that joined give it again; only the last one is noted as ended."""
    found = _WORD.findall(group.responses[0])
    for start in range(0, len(found), words):
        yield Group(
            (),
            ("".join(found[start : start + words]),),
            sources=group.sources,
            id=f"{group.id}/{start // words}",
            extra={**group.extra, "ended": [start + words >= len(found)]},
        )


def _sentence(dropped: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in dropped.items()) or "it was empty"
