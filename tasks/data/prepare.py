"""From the user's sources to the Protocol's parts: read, cleaned, split, written, proved disjoint.

Everything streams: memory grows by hashes, not by texts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from tasks.data.bad_records import BadRecords
from tasks.data.cleaning import Cleaner
from tasks.data.config import DataConfig
from tasks.data.files import GroupWriter
from tasks.data.groups import Group, first_turn_hash, text_hash
from tasks.data.part_checks import disjoint_pairs, place_demonstration, require_parts
from tasks.data.playground.generator import ensure_playground
from tasks.data.sources.config import SourceConfig
from tasks.data.sources.places import require_rows
from tasks.data.sources.reader import read_source
from tasks.data.sources.tally import BadRecord, Tally
from tasks.data.splits import check_disjoint, place
from tasks.settings.log import Log
from tasks.storage.files import open_output, write_json

PARTS = (
    *("rm_train", "policy_train", "dev", "test"),
    *("demonstrations", "rm_queries", "policy_prompts", "extra"),
)
"""The folders that `prepare` writes; each is a group folder and may be empty."""


def prepare(
    config: DataConfig,
    output: Path,
    log: Log,
    check: Callable[[Group], None] | None = None,
) -> dict[str, float]:
    """Write a folder for each of `PARTS`, `table1.json` and `bad_records.jsonl`.

    Args:
        config: Sources, split and limits.
        output: Where the folders go.
        log: Told why records were left out, once per reason.
        check: Raises RecordError for a group that the run's models could not read.

    Returns:
        Groups per part, and under `dropped/…` and `bad_records` what was left out.

    Raises:
        ConfigError: A source does not exist or holds nothing useful, or parts share prompts.
        RecordError: Too many records of a source cannot be read.
    """
    if config.playground is not None:
        ensure_playground(config.playground)
    config = config.resolved()
    # A missing or an empty file is found before the first byte is written.
    for source in config.sources():
        require_rows(source)
    with ExitStack() as stack:
        bad_file = stack.enter_context(open_output(output / "bad_records.jsonl"))
        writers = {
            part: stack.enter_context(GroupWriter(output / part, config.shard_size))
            for part in PARTS
        }
        run = _Preparation(config, writers, bad_file, check)
        try:
            # What is in rm_queries or test must be known before the rest is read.
            run.write_queries()
            run.write_test()
            run.write_preferences()
            run.write_policy_prompts()
            run.write_demonstrations()
            run.write_extra()
        finally:
            run.bad.say(log)
            _say_ignored(run.tally, log)
    require_parts(writers, config)
    prompts = check_disjoint({part: output / part for part in PARTS}, disjoint_pairs(config))
    write_json(output / "table1.json", run.table(prompts))
    return run.metrics()


class _Preparation:
    """The state of one `prepare`: writers, counters, and the first turns that others must avoid."""

    def __init__(
        self,
        config: DataConfig,
        writers: dict[str, GroupWriter],
        bad_file: IO[str],
        check: Callable[[Group], None] | None,
    ) -> None:
        self.config, self.writers, self._check = config, writers, check
        self.dropped: dict[str, Counter[str]] = {}
        self.bad = BadRecords()
        self.tally = Tally()
        self.responses: Counter[str] = Counter()
        self._bad_file = bad_file
        self._query_turns: set[bytes] = set()
        self._test_turns: set[bytes] = set()
        self._query_ids: set[str] = set()
        self._dev_turns: set[bytes] = set()
        self._dev_answers: set[str] = set()

    def write_queries(self) -> None:
        for group in self._read("rm_queries", self.config.rm_queries, needs=0):
            self._query_turns.add(_turn(group))
            self._put("rm_queries", group)

    def write_test(self) -> None:
        needs = 2 if self.config.has_preferences else 1
        for group in self._read("test", self.config.test, needs=needs):
            if not self._leaves("test", group, ("in_rm_queries",)):
                self._test_turns.add(_turn(group))
                self._put("test", group)

    def write_preferences(self) -> None:
        cut_test = not self.config.test
        for group in self._read("preferences", self.config.preferences, needs=2):
            if self._leaves("preferences", group, ("in_test",)):
                continue
            parts: tuple[str, ...] = ("rm_train",)
            # The reward model learns from pairs and gold of the same prompts, as in APO's paper.
            if _turn(group) not in self._query_turns:
                parts = place(group.prompt, self.config.split, cut_test=cut_test)
            for part in parts:
                self._put(part, group)
            if "test" in parts:
                self._test_turns.add(_turn(group))
            if "dev" in parts:
                self._dev_turns.add(_turn(group))
                self._dev_answers.update(text_hash(group.id, text) for text in group.responses)
            elif "test" not in parts and self.config.demonstrations == "chosen":
                self._put("demonstrations", Group(group.prompt, group.responses[:1]))
            if "rm_train" in parts and not self.config.rm_queries:
                self._put_query(group)

    def write_policy_prompts(self) -> None:
        for group in self._read("policy_prompts", self.config.policy_prompts, needs=0):
            if not self._leaves("policy_prompts", group, ("in_test", "in_dev", "in_rm_queries")):
                self._put("policy_prompts", Group(group.prompt, id=group.id))

    def write_demonstrations(self) -> None:
        if self.config.demonstrations != "chosen":
            for group in self._read("demonstrations", self.config.demonstrations, needs=1):
                # A dev pair's own answer, seen in fine-tuning, would flatter every model on dev.
                if text_hash(group.id, group.responses[0]) in self._dev_answers:
                    self.dropped["demonstrations"]["in_dev"] += 1
                elif not self._leaves("demonstrations", group, ("in_test",)):
                    self._put(place_demonstration(group.prompt, self.config), group)

    def write_extra(self) -> None:
        for group in self._read("extra", self.config.extra_preferences, needs=2):
            if not self._leaves("extra", group, ("in_test",)):
                self._put("extra", group)

    def metrics(self) -> dict[str, float]:
        dropped = {
            f"dropped/{source}/{reason}": float(count)
            for source, reasons in self._left_out().items()
            for reason, count in sorted(reasons.items())
        }
        counts = {part: float(writer.count) for part, writer in self.writers.items()}
        found = {"read": float(self._found), "bad_records": float(self.bad.count)}
        return counts | dropped | found

    def table(self, prompts: dict[str, int]) -> dict[str, Any]:
        parts = {
            part: {
                "groups": writer.count,
                "prompts": prompts[part],
                "responses": self.responses[part],
            }
            for part, writer in self.writers.items()
        }
        dropped = {source: dict(reasons) for source, reasons in self._left_out().items()}
        return {
            "parts": parts,
            "read": self._found,
            "ignored": dict(self.tally.ignored),
            "dropped": dropped,
            "bad_records": self.bad.count,
            "split": self.config.split.model_dump(),
        }

    @property
    def _found(self) -> int:
        """How many records there were: those that no form reads are left out of these too."""
        return self.tally.forms.total() + self.bad.count

    def _left_out(self) -> dict[str, Counter[str]]:
        """Return how many records were left out by reason: while reading, and by purpose."""
        return {"read": self.tally.left_out, **self.dropped}

    def _read(self, name: str, sources: list[SourceConfig], needs: int) -> Iterator[Group]:
        cleaner = Cleaner(needs)
        self.dropped[name] = cleaner.dropped
        limit = self.config.max_bad_share
        for source in sources:
            groups = read_source(
                source, self._on_bad, max_bad_share=limit, tally=self.tally, check=self._check
            )
            yield from cleaner.clean(groups)

    def _leaves(self, name: str, group: Group, reasons: tuple[str, ...]) -> bool:
        """Whether a row makes way for test or rm_queries; with `stop` the proof will find it."""
        if self.config.overlap == "stop":
            return False
        turns = {
            "in_rm_queries": self._query_turns,
            "in_test": self._test_turns,
            "in_dev": self._dev_turns,
        }
        turn = _turn(group)
        for reason in reasons:
            if turn in turns[reason]:
                self.dropped[name][reason] += 1
                return True
        return False

    def _put(self, part: str, group: Group) -> None:
        self.writers[part].write(group)
        self.responses[part] += len(group.responses)

    def _put_query(self, group: Group) -> None:
        if group.id not in self._query_ids:
            self._query_ids.add(group.id)
            self._query_turns.add(_turn(group))
            self._put("rm_queries", Group(group.prompt, id=group.id))

    def _on_bad(self, record: BadRecord) -> None:
        self.bad.add(record)
        # The file's name without its folder: equal data must give equal bytes on every machine.
        entry = record._replace(source=Path(record.source).name)._asdict()
        self._bad_file.write(json.dumps(entry) + "\n")


def _say_ignored(tally: Tally, log: Log) -> None:
    if ignored := tally.ignored:
        named = ", ".join(f"{name!r} (in {count:,})" for name, count in ignored.most_common())
        log.note(f"columns that nobody reads: {named}; `fields` of a source maps them")


def _turn(group: Group) -> bytes:
    return bytes.fromhex(first_turn_hash(group.prompt))
