"""Gold for a set of queries: asked once, what is unanswered counted, a share held out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from tasks.data.files import read_groups
from tasks.data.groups import Group, first_turn_hash
from tasks.data.sources.reader import SourceConfig
from tasks.endpoints.accounts import NOBODY, Account
from tasks.gold.people.config import PeopleConfig
from tasks.gold.provider import GoldProvider, collect_answers
from tasks.gold.quality import CheckedGold, QualityConfig, check_gold
from tasks.gold.server_provider import ServerGoldConfig, ServerProvider, candidate_queries
from tasks.settings.base import NOT_IN_KEY, FrozenConfig
from tasks.settings.errors import ConfigError
from tasks.settings.log import Log
from tasks.storage.digests import canonical_json
from tasks.storage.files import write_json, write_lines
from tasks.storage.home import current_home
from tasks.storage.workspace import Workspace

OWN_GOLD = (
    "gold is the chosen answers of the pairs themselves: no independent gold, so the game can only "
    "lead the policy towards them"
)
"""What is said, in the terminal and in the report, where no gold was given."""

CANDIDATES = "candidates"
"""Folder of all candidates, where a query has several."""
QUALITY, QUARANTINE = "quality.json", "quarantine.jsonl"
"""What was found wrong with answers, and the answers that were kept aside."""
_BATCH, _PAID_BATCH = 1000, 50


class GoldConfig(FrozenConfig):
    """Where gold responses come from."""

    provider: Literal["file", "playground", "server", "people", "chosen"] = "file"
    """file: a file of prompts with gold responses; playground: the world's own best answers;
    server: a stronger model, see `server`; people: who write them, see `people`; chosen: the chosen
    answers of the reward model's own pairs, where there is no better gold. The policy is then
    played against answers that the reward model has already learnt to prefer."""
    path: Annotated[str | None, NOT_IN_KEY] = None
    """The file, or the playground's world.json; what is in it counts, not where it lies. For
    those two alone."""
    server: ServerGoldConfig | None = None
    """The model that provider `server` asks."""
    people: PeopleConfig | None = None
    """Those whom provider `people` asks. The run waits until they have answered."""
    format: str = "auto"
    """Format of the file; `auto` tells it from the columns."""
    fields: dict[str, str] = Field(default_factory=dict)
    """Column to read instead of the format's own, such as `golden: golden_gpt4`."""
    dev_share: float = Field(default=0.2, ge=0, lt=1)
    """Share of the queries held out: their gold measures the game and is never trained on."""
    max_unanswered_share: float = Field(default=0.05, ge=0, le=1)
    """Largest share of queries without a gold response that may be learnt from; beyond it the run
    stops."""
    quality: QualityConfig = QualityConfig()
    """What becomes of answers that something is wrong with."""

    @property
    def candidates(self) -> int:
        """How many answers to each query there are, of which the best becomes gold."""
        return self.server.candidates if self.server else 1

    @model_validator(mode="after")
    def _one_source(self) -> GoldConfig:
        for name, asked in (("server", self.server), ("people", self.people)):
            if (asked is None) == (self.provider == name):
                given, more = "not given", ""
                if asked is not None:
                    given, more = "given", f"; take it away by `--set gold.{name}=null`"
                raise ValueError(
                    f"provider is {self.provider!r} and {name} is {given}: provider {name!r} needs "
                    f"`{name}`, and only that provider reads it{more}"
                )
        if (self.path is None) == (self.provider in ("file", "playground")):
            raise ValueError(
                f"path is {self.path!r} and provider {self.provider!r}: give `path`, a file of "
                "prompts with gold responses, or `provider: chosen` alone; `server` and `people` "
                "take no path"
            )
        return self


def collect(
    config: GoldConfig,
    queries: Iterable[Group],
    answers: Path | None,
    workspace: Workspace,
    log: Log,
    account: Account = NOBODY,
    chosen: Iterable[int] = (),
) -> tuple[list[Group], dict[str, float]]:
    """Find the gold response of every query.

    Args:
        config: The provider and how much may stay unanswered.
        queries: Groups whose prompts are asked; a prompt that occurs again is asked once.
        answers: What the provider answers from: a file, or the prepared pairs; None for a server.
        workspace: Finished batches of answers are its parts.
        log: Told how far it is, and of queries without an answer.
        account: On whose behalf a server is paid.
        chosen: Lengths of the chosen answers of the data, which those of gold are held against.

    Returns:
        One group per answered query, K = 1 or so many candidates, in their order; and the counts
        `answered` and `unanswered`, with what was wrong with answers and what a server took. The
        workspace's output receives `quality.json`, and `quarantine.jsonl` with what was kept aside.

    Raises:
        ConfigError: If more queries than allowed have no answer; some are named.
        RecordError: If too much of the file cannot be read.
        BudgetExhausted: If the next answer of a server may pass its budget.
    """
    unique = list({query.id: query for query in queries}.values())
    provider = make_provider(config, answers, account, log)
    # What is paid for is copied to a remote soon, if there is one: the ledger is this machine's.
    batch = _PAID_BATCH if config.server else _BATCH
    asked = {query.id: candidate_queries(query, config.candidates) for query in unique}
    flat = [one for several in asked.values() for one in several]
    found = collect_answers(provider, flat, workspace, log, batch=batch)
    checked = check_gold(config.quality, flat, found, chosen)
    write_json(workspace.output / QUALITY, checked.to_json())
    lines = (canonical_json(one.to_json()).decode() for one in checked.quarantine)
    write_lines(workspace.output / QUARANTINE, lines)
    for sentence in checked.sentences():
        log.note(sentence)
    groups = (_group(query, asked[query.id], checked) for query in unique)
    gold = [group for group in groups if group.responses]
    answered = {group.id for group in gold}
    missing = [query.id for query in unique if query.id not in answered]
    if config.provider == "chosen":
        log.note(OWN_GOLD)
    if missing:
        _report(provider.name, missing, len(unique), config.max_unanswered_share, log)
    counts = {"answered": float(len(gold)), "unanswered": float(len(missing))}
    return gold, {**counts, **checked.metrics(), **provider.metrics()}


def chosen_lengths(pairs: Path | None) -> Iterator[int]:
    """Yield the length of the chosen answer of each pair of a folder, in characters."""
    groups = read_groups(pairs) if pairs else ()
    return (len(group.responses[0]) for group in groups if len(group.responses) > 1)


def _group(query: Group, candidates: Sequence[Group], checked: CheckedGold) -> Group:
    """Return a query with the candidates that are left; without responses where none is."""
    left = [one.id for one in candidates if one.id in checked.kept]
    answers = [checked.kept[name] for name in left]
    extra = {"repaired": True} if checked.repaired.intersection(left) else {}
    return Group(
        query.prompt,
        tuple(one.text for one in answers),
        sources=tuple(one.source for one in answers) or None,
        id=query.id,
        extra=extra,
    )


def make_provider(
    config: GoldConfig, answers: Path | None, account: Account, log: Log
) -> GoldProvider:
    """Return the configured provider, reading from `answers` or paying by `account`."""
    if config.server is not None:
        return ServerProvider(config.server, current_home().ledger, account, log)
    assert answers is not None, "checked with the configuration"
    if config.provider == "playground":
        from tasks.gold.playground_provider import PlaygroundProvider

        return PlaygroundProvider(answers)
    from tasks.gold.file_provider import FileProvider

    if config.provider in ("people", "chosen"):
        return FileProvider(SourceConfig(path=str(answers), format="groups"))
    return FileProvider(SourceConfig(path=str(answers), format=config.format, fields=config.fields))


def hold_out(gold: Iterable[Group], dev_share: float) -> tuple[list[Group], list[Group]]:
    """Part gold by the hash of the first user turn, so that no dialogue is on both sides.

    Args:
        gold: Groups in any order; the side of each depends on itself alone.
        dev_share: Share held out, in [0, 1).

    Returns:
        Gold to train on and gold held out, each in the given order.
    """
    train: list[Group] = []
    dev: list[Group] = []
    for group in gold:
        # The last digits: the split of the data sets may already have used the first.
        place = int(first_turn_hash(group.prompt)[-8:], 16) / 16**8
        (dev if place < dev_share else train).append(group)
    return train, dev


def _report(name: str, missing: list[str], asked: int, limit: float, log: Log) -> None:
    text = (
        f"{name} has no gold response for {len(missing)} of {asked} queries "
        f"({', '.join(missing[:3])}{', …' if len(missing) > 3 else ''})"
    )
    if len(missing) > limit * asked:
        raise ConfigError(
            f"{text}, more than the allowed {limit:.1%}: complete the file, leave these prompts "
            "out of the queries, or raise gold.max_unanswered_share"
        )
    log.note(text)
