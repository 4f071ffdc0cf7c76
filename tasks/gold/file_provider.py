"""Gold responses from a file: every prompt's answer stands there already.

Any format of `tasks.data.sources` serves; the first response of a group is its gold. A query is
matched by its prompt's hash, so white space and Unicode form do not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tasks.data.groups import Group, prompt_hash
from tasks.data.sources.reader import SourceConfig, read_source
from tasks.data.sources.tally import BadRecord
from tasks.gold.provider import GoldAnswer
from tasks.settings.errors import ConfigError
from tasks.storage.workspace import Workspace


class FileProvider:
    """Answers from a file of prompts with golden responses."""

    unit = "queries"

    def __init__(self, source: SourceConfig, *, max_bad_share: float = 0.01) -> None:
        """Take the file's answers.

        Args:
            source: Which file, format and fields.
            max_bad_share: Largest share of records that may be unreadable.

        Raises:
            ConfigError: The file does not exist (as `read_source`), or holds no answer.
        """
        self.source = source
        self.bad: list[BadRecord] = []
        self._groups = read_source(source, self.bad.append, max_bad_share=max_bad_share)

    @property
    def name(self) -> str:
        """What the source of the answers is called in messages."""
        return self.source.label

    def metrics(self) -> Mapping[str, float]:
        """Return nothing: it costs nothing."""
        return {}

    def answer(
        self, queries: Sequence[Group], workspace: Workspace
    ) -> Iterator[tuple[str, GoldAnswer]]:
        """Read the file once, yielding the answers to the queries; the first of a prompt counts."""
        asked: dict[str, list[str]] = {}
        for query in queries:
            asked.setdefault(prompt_hash(query.prompt), []).append(query.id)
        found = 0
        for group in self._groups:
            if not group.responses:
                continue
            found += 1
            source = group.sources[0] if group.sources else "gold"
            for identity in asked.pop(prompt_hash(group.prompt), ()):
                yield identity, GoldAnswer(group.responses[0], source)
        if not found:
            raise ConfigError(
                f"{self.name} holds no golden response: give a file of prompts with answers"
            )
