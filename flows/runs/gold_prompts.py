"""Whom a run will ask: its queries for gold, what it will pay, and where it waits for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from flows.configs.base import FlowConfig
from flows.configs.recurring import RunBudget
from flows.steps.hub_commits import pinned
from tasks.data.files import read_groups
from tasks.data.groups import Group
from tasks.data.prepare import prepare
from tasks.endpoints.config import EndpointConfig
from tasks.endpoints.estimate import Estimate
from tasks.endpoints.ledger import Ledger
from tasks.endpoints.prices import dollars_text
from tasks.gold.collection import GoldConfig
from tasks.gold.people.config import PeopleConfig
from tasks.gold.server_provider import estimate_gold
from tasks.models.tokens.own_template import TEMPLATE_FILES, template_check
from tasks.settings.base import FrozenConfig
from tasks.settings.errors import ConfigError
from tasks.settings.log import NullLog
from tasks.settings.parts import configs_in
from tasks.settings.plurals import counted
from tasks.stages.runs.context import PlannedStage
from tasks.storage.digests import canonical_json
from tasks.storage.files import write_lines
from tasks.storage.home import current_home
from tasks.tracking.remote.opening import open_remote


def write_gold_prompts(config: FrozenConfig, output: Path) -> int:
    """Write each query of a run once, as a line with its id and its prompt as messages.

    The data are read and divided as the run will do it; nothing goes into the store. With a
    `response` beside its prompt a line is gold, wherever in the file it stands.

    Returns:
        How many queries there are.

    Raises:
        ConfigError: The run asks nobody for gold, or its data cannot be read.
    """
    gold = _gold_of(config)
    if gold.provider == "chosen":
        raise ConfigError("gold.provider is 'chosen': the pairs answer themselves, nobody is asked")
    with _queries(config) as queries:
        return write_lines(output, map(_line, queries))


def estimate_run(config: FrozenConfig) -> Estimate:
    """Say what a run's gold will cost; the data are read and divided as the run will do it.

    Raises:
        ConfigError: The run pays nobody for gold, or its data cannot be read.
    """
    gold = _gold_of(config)
    if gold.server is None:
        raise ConfigError(f"gold.provider is {gold.provider!r}: nobody is paid for gold")
    with _queries(config) as queries:
        return estimate_gold(gold.server, queries, Ledger(current_home().ledger, open_remote()))


def planned_bill(config: FrozenConfig, planned: Iterable[PlannedStage]) -> str:
    """Return what the stages that have to run will pay, in sentences; empty for nothing.

    Raises:
        ConfigError: The data cannot be read.
    """
    stages = list(planned)
    bills = [one for one in (_gold_bill(config, stages), _judge_bill(config, stages)) if one[0]]
    if not bills:
        return ""
    worst, cap = sum(most for _, most in bills), getattr(config, "budget", RunBudget()).dollars
    whose = "budgets of those asked" if cap is None or worst <= cap else "budget of the run"
    most = dollars_text(worst if cap is None else min(worst, cap))
    return "\n".join([*(text for text, _ in bills), f"at most {most} in all, by the {whose}"])


def planned_waits(config: FrozenConfig, planned: Iterable[PlannedStage]) -> str:
    """Return at which stages a run will wait for people, in sentences; empty where at none."""
    todo = [one.stage for one in planned if one.state != "done"]
    gold, judges = getattr(config, "gold", None), getattr(config, "human_evaluation", None)
    found = []
    if "ask_people" in todo and isinstance(gold, GoldConfig) and gold.people:
        found.append(f"ask_people for gold: {_persons(gold.people)} for each query")
    if (matches := todo.count("judge_by_people")) and judges:
        prompts = "all" if judges.prompts is None else f"at most {judges.prompts}"
        found.append(
            f"judge_by_people in {counted(matches, 'match', 'matches')}: {_persons(judges)} for "
            f"each of {prompts} prompts"
        )
    return "\n".join(f"the run will wait for people at {one}" for one in found)


def _persons(config: PeopleConfig) -> str:
    share = "" if config.enough == 1 else f", until {config.enough:.0%} are complete,"
    return f"{counted(config.quorum, 'person', 'people')}{share}"


def _judge_bill(config: FrozenConfig, planned: Iterable[PlannedStage]) -> tuple[str, float]:
    """Return what a judge is asked, and the most dollars; an endpoint with a price has a budget."""
    judge = getattr(config, "judge", None)
    todo = [one.stage for one in planned if one.state != "done"]
    left, asked = todo.count("judge_responses"), []
    if left and judge and judge.prompts is None:
        asked.append(f"two for each prompt of {left} matches")
    elif left and judge:
        asked.append(f"at most {2 * judge.prompts * left:,} in {left} matches")
    server = getattr(getattr(config, "gold", None), "server", None)
    if "pick_gold" in todo and server and server.best_by == "judge":
        asked.append(f"at most {2 * (server.candidates - 1)} to choose the gold of each query")
    if judge is None or not asked:
        return "", 0.0
    texts: list[str] = []
    most = 0.0
    for endpoint in (part for _, part in configs_in(judge) if isinstance(part, EndpointConfig)):
        said = "the same" if texts else f"requests, {' and '.join(asked)}"
        ends = f"; the budget is {endpoint.budget.text}" if endpoint.budget.text else ""
        texts.append(f"judge {endpoint.model}: {said}{ends}")
        most += 0.0 if endpoint.price.is_free else endpoint.budget.dollars or 0.0
    return "\n".join(texts), most


def _gold_bill(config: FrozenConfig, planned: Iterable[PlannedStage]) -> tuple[str, float]:
    """Return what gold will cost, and the most dollars, calls that fail and are billed included."""
    gold = getattr(config, "gold", None)
    if not isinstance(gold, GoldConfig) or gold.server is None:
        return "", 0.0
    if all(stage.state == "done" for stage in planned if stage.stage == "collect_gold"):
        return "", 0.0
    endpoint, found = gold.server.endpoint, estimate_run(config)
    is_free = endpoint.price.is_free or not found.requests
    most = 0.0 if is_free else endpoint.budget.dollars or 0.0
    return f"gold from {endpoint.model}: {found.sentence()}", most


def _gold_of(config: FrozenConfig) -> GoldConfig:
    gold = getattr(config, "gold", None)
    if not isinstance(config, FlowConfig) or not isinstance(gold, GoldConfig):
        raise ConfigError("this flow asks for no gold: give a configuration of the flow apo")
    return gold


@contextmanager
def _queries(config: FrozenConfig) -> Iterator[list[Group]]:
    """Give each query of a run once during the block."""
    assert isinstance(config, FlowConfig), "it asks for gold"
    config = pinned(config)
    with TemporaryDirectory() as folder:
        parts = Path(folder) / "parts"
        prepare(config.divided_data(), parts, NullLog(), _own_template(config))
        yield list({query.id: query for query in read_groups(parts / "rm_queries")}.values())


def _own_template(config: FlowConfig) -> Callable[[Group], None] | None:
    """Return the check by the base policy's own chat template, where that lies in a folder."""
    if config.model.template is not None or not config.model.path:
        return None
    files = (Path(config.model.path) / name for name in TEMPLATE_FILES)
    return template_check([file for file in files if file.is_file()])


def _line(query: Group) -> str:
    prompt = [{"role": role, "content": content} for role, content in query.prompt]
    return canonical_json({"id": query.id, "prompt": prompt}).decode()
