"""The rules of the house that need more than one file: rooms, circles, repeated names.

As in `architecture_rules`, each rule yields sentences that say what is wrong and where.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from tests.architecture_rules import Source, imports

MOST_FILES = 15
"""Python files in a folder, its `__init__` aside; the verbs directly in tasks/ are not counted."""
ROOMS = {
    "flows": (
        "configs shrinking servers placement steps schedule trend runs starting".split()
        + ["rehearsal", "cli"]
    ),
    "flows.cli": ["comparing", "commands"],
    "flows.configs": ["branches"],
    "flows.steps": ["ava"],
    "tasks.data": "playground sources inspection".split(),
    "tasks.data.sources": ["forms"],
    "tasks.tracking": "remote store mlflow_record".split(),
    "tasks.tracking.mlflow_record": ["registered"],
    "tasks.gold": ["people"],
    "tasks.models": "pretrained tokens groups sampling sizes server tqr scoring".split(),
    "tasks.evaluation": "metrics report judging apo exo ava".split(),
    "tasks.training": "methods data weights distributed updates ppo".split(),
    "tasks.stages": "remote leases runs lineage retention export".split(),
}
"""The folders within a folder: each may use those named before it."""
REPEATED = {
    "__init__": "a folder's own word",
    "__main__": "what `python -m` runs",
    "client": "asks a server: one that is paid, one that a stage starts",
    "config": "the settings of the folder it lies in",
    "apo": "the flow, its configuration and its losses",
    "exo": "the flow, its configuration and its losses",
    "ava": "the flow, its configuration and its losses",
    "dpo": "a loss, and the method that trains with it",
    "rrhf": "a loss, and the method that trains with it",
    "sft": "a loss, and the method that trains with it",
    "policy": "the model, what trains it and what measures it",
    "reward_model": "the model, what trains it and what measures it",
    "classifier": "the model, and what trains it",
    "registry": "what can be chosen by name: flows, methods, data forms",
    "inputs": "what goes into a flow, into a stage, into MLflow's record of it",
    "report": "the report of a flow",
    "tables": "the tables that all reports share, and those of one flow",
    "plots": "the plots that all reports share, and those of one flow",
    "findings": "what the report of a flow says in sentences",
    "apo_updates": "the steps, and their configuration",
    "apo_evaluation": "the step, and its configuration",
    "exo_evaluation": "the step, and its configuration",
    "promotion": "the flow, and its configuration",
    "judge": "the flow, and its configuration",
    "recurring": "recurring runs: their commands, and their configuration",
    "opening": "one of several kinds is opened: a remote, an engine",
    "export": "a command's words, and what it does",
    "lineage": "a command's words, and what it does",
    "remote": "a command's words, and what it does",
    "retention": "a command's words, and what it does",
    "servers": "a command's words, and what it does",
    "doctor": "a command, and its look at the data",
    "errors": "the error classes of the user's side, and of storage, which stands alone",
    "prompts": "prompts of the playground, and for a model server",
    "randomness": "seeds of the playground, and of models",
    "selection": "which groups, records or candidates are taken",
    "workspace": "the folder a stage works in, and how a stage gets one",
    "models": "the models of PPO, and MLflow's record of models",
    "parts": "parts of a big file: on disk, on the remote",
    "files": "durable files, and files of groups",
    "log": "the protocol, and what a stage gives",
    "loading": "reading configurations, and reading models",
    "base": "what all of a kind share: configurations, remotes",
}
"""File names that lie in several folders, each with the idea that is the same there."""


def circles(sources: Sequence[Source]) -> Iterator[str]:
    """No file imports itself by way of others; imports in functions and for typing count."""
    names = {source.name.removesuffix(".__init__") for source in sources}
    below: dict[str, set[str]] = defaultdict(set)
    for source in sources:
        own = source.name.removesuffix(".__init__")
        for _, name, _ in imports(source):
            found = name if name in names else name.rpartition(".")[0]
            if found in names and found != own:
                below[own].add(found)
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> Iterator[str]:
        if name in path:
            yield "circle: " + " -> ".join([*path[path.index(name) :], name])
        elif name not in done:
            for other in sorted(below[name]):
                yield from visit(other, [*path, name])
            done.add(name)

    for name in sorted(names):
        yield from visit(name, [])


def rooms(source: Source) -> Iterator[str]:
    """A folder in a folder is used from above, or by those named after it."""
    for parent, order in ROOMS.items():
        own = _room(source.name, parent)
        if own is None:
            continue
        if own not in order:
            yield f"{source.name} lies in a folder that ROOMS does not name: {parent}.{own}"
            continue
        for line, name, _ in imports(source):
            other = _room(f"{name}.", parent)
            if other in order and order.index(other) > order.index(own):
                yield f"{source.name}:{line} imports {name}: {own} lies below {other}"


def _room(name: str, parent: str) -> str | None:
    """Return the folder directly in `parent` that a module lies in, if it lies in one."""
    inner = name.removeprefix(f"{parent}.") if name.startswith(f"{parent}.") else ""
    return inner.partition(".")[0] if "." in inner else None


def crowds(sources: Sequence[Source]) -> Iterator[str]:
    """A folder holds few enough files to be read at a glance."""
    found = Counter(
        str(PurePosixPath(*source.name.split(".")[:-1]))
        for source in sources
        if not source.is_package and not source.is_task_file
    )
    for folder, count in sorted(found.items()):
        if count > MOST_FILES:
            yield f"{folder}/ holds {count} files, {MOST_FILES} at most: give them rooms"


def repeated_names(sources: Sequence[Source]) -> Iterator[str]:
    """A file name lies in one folder, unless it is the same idea at another place."""
    places: dict[str, list[str]] = defaultdict(list)
    for source in sources:
        folder, _, stem = source.name.rpartition(".")
        places[stem].append(folder)
    for stem, folders in sorted(places.items()):
        if len(folders) > 1 and stem not in REPEATED:
            yield f"{stem}.py lies in {', '.join(sorted(folders))}: one word, one meaning"
    for stem in sorted(REPEATED):
        if len(places[stem]) < 2:
            yield f"REPEATED allows {stem}, which lies in no two folders"
