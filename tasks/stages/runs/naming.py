"""What a user's name for a run or an artifact means: one answer for every command.

A name is a run (its id, `latest`, the beginning of its id), what a run made (`RUN/NAME`, as its
report or `sparring status` calls it), an alias (`champion`, `FLOW/champion`,
`FLOW/champion/reward_model`), or a key or digest or its beginning.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from tasks.settings.errors import ConfigError, UnknownNameError, closest
from tasks.stages.key import stage_title
from tasks.stages.manifest import list_manifests
from tasks.stages.runs.aliases import ALIASES, AliasRecord, list_aliases, require_alias
from tasks.stages.runs.run_journal import stage_events
from tasks.stages.runs.run_names import few, made_by
from tasks.stages.runs.run_store import ENDED_WELL, Run, latest_run, list_runs, load_run
from tasks.stages.runs.states import RunStatus
from tasks.storage.home import Home

_SHORTEST_PREFIX = 4
_WHOLE_KEY = 64


class Thing(NamedTuple):
    """A run, a stage's output or a user's file."""

    id: str
    """`run/RUN`, `STAGE/KEY` or `external/DIGEST`."""
    digest: str
    """DVC's md5; empty for runs."""
    title: str
    """A name of it for people."""

    @property
    def stage(self) -> str:
        """The stage that made it; "run" or "external" for others."""
        return self.id.partition("/")[0]

    @property
    def key(self) -> str:
        """The stage's key, the run's id or the file's digest."""
        return self.id.partition("/")[2]

    @property
    def is_run(self) -> bool:
        """Whether it is a run."""
        return self.stage == "run"


def known_things(home: Home) -> list[Thing]:
    """Return all runs and artifacts of a home."""
    runs = [Thing(f"run/{run.id}", "", run.id) for run in list_runs(home)]
    made = (
        Thing(f"{one.stage}/{one.key}", one.digest, stage_title(one.stage, one.label))
        for one in list_manifests(home)
    )
    return [*runs, *made]


def find_thing(home: Home, name: str, things: Iterable[Thing] | None = None) -> Thing:
    """Return the run or the artifact that a user means.

    Args:
        home: The home whose runs and aliases a name may begin with.
        name: What the user typed.
        things: Among which it is; by default all of the home.

    Raises:
        ConfigError: It means several things, which are named.
        UnknownNameError: It means nothing; what comes near is named.
    """
    things = known_things(home) if things is None else list(things)
    first, _, rest = name.partition("/")
    if alias := find_alias(home, name):
        return _of_id(things, _model_of(*alias, name), name)
    if first == "latest" or (rest and all(one.stage != first for one in things)):
        run = load_run(home, first)
        return _of_id(things, made_by(home, run, rest) if rest else f"run/{run.id}", name)
    return _match(home, things, name)


def find_model(home: Home, name: str, role: str) -> str:
    """Return `STAGE/KEY` of the model that a configuration names as its `start.ROLE`.

    A whole `STAGE/KEY` is returned as it is; of an alias the model of that role is meant.

    Raises:
        ConfigError: As `find_thing`, or the name is a run's.
    """
    if len(name.partition("/")[2]) == _WHOLE_KEY:
        return name
    alias = find_alias(home, name)
    thing = find_thing(home, f"{name}/{role}" if alias and not alias[1] else name)
    if thing.is_run:
        raise ConfigError(f"start.{role} is the run {thing.key}; name a model, {thing.key}/NAME")
    return thing.id


def find_run(home: Home, name: str, latest: Collection[RunStatus] = ENDED_WELL) -> Run:
    """Return the run that a user means; `champion` is the run that made it.

    `latest` is the newest in one of the states that are given, as for `load_run`.

    Raises:
        ConfigError: It means no run of this machine, or several.
    """
    alias = find_alias(home, name)
    if alias is None or alias[1]:
        if "/" in name:
            what = find_thing(home, name)
            if not what.is_run:
                raise ConfigError(f"{name!r} is {what.title} {what.key[:12]}; name a run alone")
            return load_run(home, what.key)
        return load_run(home, name, latest)
    run = alias[0].run
    if all(run != known.id for known in list_runs(home)):
        raise ConfigError(
            f"{name} was made by the run {run}, which is not on this machine; `sparring pull {run}`"
        )
    return load_run(home, run)


def find_alias(home: Home, name: str) -> tuple[AliasRecord, str] | None:
    """Return the record of an alias and the role behind it; None where the name is no alias.

    Raises:
        ConfigError: Several flows have that alias.
        UnknownNameError: No flow has it.
    """
    words = name.split("/")
    if words[0] in ALIASES and len(words) < 3:
        found = [one for one in list_aliases(home) if one.alias == words[0]]
        if not found:
            raise UnknownNameError(f"no flow has a {words[0]} yet; `sparring ls aliases`")
        if len(found) > 1:
            many = ", ".join("/".join((one.flow, *words)) for one in found)
            raise ConfigError(f"{name!r} means several: {many}; name its flow too")
        return found[0], "".join(words[1:])
    if len(words) in (2, 3) and words[1] in ALIASES:
        return require_alias(home, words[0], words[1]), "".join(words[2:])
    return None


def _model_of(record: AliasRecord, role: str, name: str) -> str:
    """Return the id of an alias's model, by default its policy."""
    role = role or "policy"
    if role not in record.models:
        raise ConfigError(f"{name}: it names {', '.join(record.models)}, no {role}")
    return record.models[role]


def _match(home: Home, things: list[Thing], name: str) -> Thing:
    """Return what has this id, key or digest, or the only one that begins so."""
    is_long = len(name) >= _SHORTEST_PREFIX
    found = [one for one in things if name in (one.id, one.key)]
    if is_long and not found:
        called = ((one, (one.id, one.key, one.digest)) for one in things)
        found = [one for one, words in called if any(word.startswith(name) for word in words)]
    if len(found) == 1:
        return found[0]
    if found:
        several = few([f"{one.key[:24]} ({one.title})" for one in found])
        raise ConfigError(f"{name!r} is the beginning of several: {several}; give more of it")
    said = "" if is_long else f"; give at least {_SHORTEST_PREFIX} characters"
    if near := closest(name, [one.key for one in things if one.is_run]):
        said += f"; did you mean {near!r}?"
    run = latest_run(home)
    labels = {one["label"]: one for one in stage_events(home, run.id)} if run else {}
    if near := closest(name, filter(None, labels)):
        said += f"; did you mean 'latest/{near}'?"
    raise UnknownNameError(
        f"nothing here has the key, digest or run id {name!r}{said}; "
        "`sparring ls artifacts` and `sparring ls runs` list them"
    )


def _of_id(things: list[Thing], wanted: str, name: str) -> Thing:
    found = [one for one in things if one.id == wanted]
    if not found:
        raise UnknownNameError(f"{name} is {wanted}, of which nothing is known here")
    return found[0]
