"""The queries that a run will ask gold for, which only its division of the data knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from flows.configs.base import FlowConfig
from flows.steps.hub_commits import pinned
from tasks.data.files import read_groups
from tasks.data.groups import Group
from tasks.data.prepare import prepare
from tasks.gold.collection import GoldConfig
from tasks.models.tokens.own_template import TEMPLATE_FILES, template_check
from tasks.settings.base import FrozenConfig
from tasks.settings.errors import ConfigError
from tasks.settings.log import NullLog
from tasks.storage.digests import canonical_json
from tasks.storage.files import write_lines


def write_gold_prompts(config: FrozenConfig, output: Path) -> int:
    """Write each query of a run once, as a line with its id and its prompt as messages.

    The data are read and divided as the run will do it; nothing goes into the store. With a
    `response` beside its prompt a line is gold, wherever in the file it stands.

    Returns:
        How many queries there are.

    Raises:
        ConfigError: The run asks nobody for gold, or its data cannot be read.
    """
    gold = getattr(config, "gold", None)
    if not isinstance(config, FlowConfig) or not isinstance(gold, GoldConfig):
        raise ConfigError("this flow asks for no gold: give a configuration of the flow apo")
    if gold.provider == "chosen":
        raise ConfigError("gold.provider is 'chosen': the pairs answer themselves, nobody is asked")
    config = pinned(config)
    with TemporaryDirectory() as folder:
        parts = Path(folder) / "parts"
        prepare(config.divided_data(), parts, NullLog(), _own_template(config))
        queries = {query.id: query for query in read_groups(parts / "rm_queries")}
        return write_lines(output, map(_line, queries.values()))


def _own_template(config: FlowConfig) -> Callable[[Group], None] | None:
    """Return the check by the base policy's own chat template, where that lies in a folder."""
    if config.model.template is not None or not config.model.path:
        return None
    files = (Path(config.model.path) / name for name in TEMPLATE_FILES)
    return template_check([file for file in files if file.is_file()])


def _line(query: Group) -> str:
    prompt = [{"role": role, "content": content} for role, content in query.prompt]
    return canonical_json({"id": query.id, "prompt": prompt}).decode()
