"""What every source of gold responses is: it has a name and answers prompts one by one.

A provider may be a file, the playground, a server or people. It yields an answer as soon as it has
it, in any order, and leaves out what it cannot answer. `collect_answers` keeps each batch of
answers as a part of the attempt's workspace, so that a killed stage asks only for what is missing.
What a provider pays for is in the ledger besides (`tasks.endpoints.ledger`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from tasks.data.groups import Group
from tasks.settings.log import Log
from tasks.storage.digests import canonical_json
from tasks.storage.files import read_lines, write_lines
from tasks.storage.workspace import Workspace

_PART = "gold"
_FILE = "answers.jsonl"
_TELL_SECONDS = 0.5


Problem = Literal["", "truncated", "withheld", "empty"]
"""Cut off by a limit, kept back by a filter or by the model's own refusal, or nothing at all."""


@dataclass(frozen=True, slots=True)
class GoldAnswer:
    """A gold response to one query."""

    text: str
    """The response."""
    source: str
    """Who wrote it: the provider's name, or a model's or a person's."""
    usage: dict[str, float] = field(default_factory=dict)
    """What it took, such as `prompt_tokens`, `completion_tokens`, `dollars`; empty if nothing."""
    problem: Problem = ""
    """What the source itself says is wrong with it; empty for nothing."""
    raw: str = ""
    """What a server sent, as it came, where there is a problem."""


class GoldProvider(Protocol):
    """Answers queries with gold responses."""

    @property
    def name(self) -> str:
        """What to call it in messages, reports and the groups' `sources`."""

    @property
    def unit(self) -> str:
        """What is counted, in the plural, for the line that says how far it is."""

    def metrics(self) -> Mapping[str, float]:
        """Return what answering took; empty where that is nothing."""

    def answer(
        self, queries: Sequence[Group], workspace: Workspace
    ) -> Iterator[tuple[str, GoldAnswer]]:
        """Answer queries, each as soon as it is known.

        Args:
            queries: What is still unanswered; only `id` and `prompt` count.
            workspace: Where a provider may keep a journal of its requests.

        Yields:
            A query's id and its answer, in any order; unanswerable queries are left out.
        """


def collect_answers(
    provider: GoldProvider,
    queries: Sequence[Group],
    workspace: Workspace,
    log: Log,
    *,
    batch: int = 1000,
) -> dict[str, GoldAnswer]:
    """Ask a provider for whatever earlier attempts have not answered, and keep it as it comes.

    Args:
        provider: Whom to ask.
        queries: One group per query, ids distinct.
        workspace: Each batch of answers becomes one of its parts.
        log: Told how far it is.
        batch: Answers per part: what a kill can lose.

    Returns:
        Answer per query id, in the order of the queries; unanswered ones are missing.
    """
    known = _kept(workspace)
    wanted = {query.id for query in queries}
    missing = [query for query in queries if query.id not in known]
    fresh: dict[str, GoldAnswer] = {}
    told = 0.0
    for identity, answer in provider.answer(missing, workspace) if missing else ():
        if identity in wanted and identity not in known:
            known[identity] = fresh[identity] = answer
        if len(fresh) >= batch:
            _keep(workspace, fresh)
            fresh = {}
        if (now := time.monotonic()) - told > _TELL_SECONDS:
            log.progress(len(known), len(queries), provider.unit)
            told = now
    if fresh:
        _keep(workspace, fresh)
    log.progress(len(queries), len(queries), provider.unit)
    return {query.id: known[query.id] for query in queries if query.id in known}


def _keep(workspace: Workspace, answers: dict[str, GoldAnswer]) -> None:
    def write(folder: Path) -> None:
        lines = (
            canonical_json({"id": identity, **asdict(answer)}).decode()
            for identity, answer in answers.items()
        )
        write_lines(folder / _FILE, lines)

    workspace.save_part(f"{_PART}-{len(_parts(workspace)):05d}", write)


def _kept(workspace: Workspace) -> dict[str, GoldAnswer]:
    known: dict[str, GoldAnswer] = {}
    for name in _parts(workspace):
        folder = workspace.part(name)
        assert folder is not None, "a listed part is complete"
        for line in read_lines(folder / _FILE):
            record = json.loads(line)
            known.setdefault(record.pop("id"), GoldAnswer(**record))
    return known


def _parts(workspace: Workspace) -> list[str]:
    return [name for name in workspace.part_names() if name.startswith(f"{_PART}-")]
