"""What a run calls the things that it made or used: as its report does, or as its stages do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from tasks.settings.errors import ConfigError, UnknownNameError, closest
from tasks.settings.printable import printable
from tasks.stages.key import stage_title
from tasks.stages.manifest import Manifest, artifact_folder, load_manifest
from tasks.stages.runs.run_journal import stage_events
from tasks.stages.runs.run_store import Run, run_folder
from tasks.storage.home import Home
from tasks.tracking.store.named_links import link_names

T = TypeVar("T")
_SHOWN = 8
_UNLABELLED = "output"


def made_by(home: Home, run: Run, name: str) -> str:
    """Return the id of what a run made or used under a name: a label, a stage, or STAGE/LABEL.

    Of several things of one label the model is meant, if one of them is one, else the model that
    the one evaluation of that label measured.

    Raises:
        ConfigError: It means several things, which are named.
        UnknownNameError: It means nothing; what comes near and the run's models are named.
    """
    ended = [one for one in stage_events(home, run.id) if one["state"] in ("completed", "cached")]
    titles = {f"{one['stage']}/{one['key']}": _title(one) for one in ended}
    made = {thing: load_manifest(home, *thing.split("/")) for thing in titles}
    found = called(name, titles)
    models = [thing for thing, one in made.items() if one and one.provenance.get("produces")]
    meant = [thing for thing in found if thing in models]
    measured = [made[thing] for thing in found if thing.startswith("evaluate_")]
    if len(found) > 1 and not meant and len(measured) == 1 and measured[0]:
        meant = [_subject(measured[0])]
    if len(meant or found) > 1:
        several = few([f"{run.id}/{titles[thing]}" for thing in meant or found])
        raise ConfigError(f"{run.id}/{name} means several: {several}; say which")
    if not found:
        labels = [titles[thing].partition("/")[2] or titles[thing] for thing in models]
        near = closest(name, [one["label"] or one["stage"] for one in ended])
        near = near or next((one for one in labels if _plain(name) in _plain(one)), None)
        raise UnknownNameError(
            f"run {run.id} made nothing called {name!r}"
            f"{f'; did you mean {near!r}?' if near else ';'} its models are "
            f"{few(labels) or 'none yet'}; `sparring status {run.id}` lists all"
        )
    return (meant or found)[0]


def output_paths(events: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return `STAGE/KEY` by readable path, `STAGE/LABEL`, of what a run made or used.

    Args:
        events: The stage events of a run.

    Example:
        >>> output_paths([{"state": "cached", "stage": "prepare_data", "label": "", "key": "ab"}])
        {'prepare_data/output': 'prepare_data/ab'}
    """
    found: dict[str, str] = {}
    for event in events:
        if event["state"] not in ("completed", "cached"):
            continue
        reference = f"{event['stage']}/{event['key']}"
        name = path_name(event["label"]) or _UNLABELLED
        path = f"{event['stage']}/{name}"
        if found.get(path, reference) != reference:
            path = f"{path} {event['key'][:8]}"
        found[path] = reference
    return found


def path_name(label: str) -> str:
    """Return a label as part of a path; empty for none."""
    return printable(label).replace("/", "-").lstrip(".")


def name_outputs(home: Home, run_id: str) -> None:
    """Give what a run made and used, and the report that it shows, paths that people can read."""
    paths = output_paths(stage_events(home, run_id))
    targets = {name: artifact_folder(home, *one.split("/")) for name, one in paths.items()}
    if (shown := run_folder(home, run_id) / "report").is_dir():
        targets["report"] = shown
    link_names(home.named, f"runs/{run_id}", targets)


def called(name: str, titles: Mapping[T, str]) -> list[T]:
    """Return what is called so, of things with titles `STAGE/LABEL`, `STAGE` or `LABEL`.

    What is called exactly so comes before what has more words; of those the fewest words count: the
    report's `EXO-rw K=4` is `EXO-rw K=4 β_π=0.5 s0`, unless there is another seed.

    Example:
        >>> called("DPO", {1: "update_policy/DPO s0", 2: "update_policy/DPO s0 1/2"})
        [1]
    """
    if exact := [one for one, title in titles.items() if _plain(name) in _names(title)]:
        return exact
    words = {one: _words(title) for one, title in titles.items()}
    wider = [one for one, known in words.items() if _words(name) <= known]
    fewest = min((len(words[one]) for one in wider), default=0)
    return [one for one in wider if len(words[one]) == fewest]


def few(names: Sequence[str]) -> str:
    """Return the first names of many as a list for people."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _subject(evaluation: Manifest) -> str:
    """Return the id of the model that an evaluation measured; its own where no stage made that."""
    for role in ("policy", "reward_model"):
        given = evaluation.inputs.get(role)
        if given is not None and given.key:
            return f"{given.stage}/{given.key}"
    return f"{evaluation.stage}/{evaluation.key}"


def _title(event: Mapping[str, str]) -> str:
    return f"{event['stage']}/{event['label']}" if event["label"] else event["stage"]


def _names(title: str) -> set[str]:
    """Return what a thing with a title may be called."""
    stage, _, label = title.partition("/")
    return {_plain(one) for one in (label, stage, title, stage_title(stage, label))}


def _words(name: str) -> frozenset[str]:
    return frozenset(map(_plain, re.split(r"[ /·]+", name)))


def _plain(name: str) -> str:
    """Return a name as it is compared: `golden SFT`, `golden-sft` and `golden_SFT` are one."""
    return re.sub(r"[ _-]+", "-", name).casefold()
