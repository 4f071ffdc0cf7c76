"""What the shell offers behind a command when Tab is pressed; a mishap here offers nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress


def _offering(known: Callable[[], Iterable[str]]) -> Callable[[str], Iterator[str]]:
    """Return a completion by the names that `known` returns when it is asked."""

    def offer(incomplete: str) -> Iterator[str]:
        names: list[str] = []
        logging.disable(logging.WARNING)
        with suppress(Exception):  # a damaged store is no reason to disturb who types
            names += known()
        return (name for name in names if name.startswith(incomplete))

    return offer


def _flows() -> Iterable[str]:
    from flows.registry import FLOWS

    return FLOWS


def _flows_of_aliases() -> Iterable[str]:
    from tasks.stages.runs.aliases import list_aliases
    from tasks.storage.home import current_home

    return sorted({one.flow for one in list_aliases(current_home())})


def _configs() -> Iterable[str]:
    from flows.registry import config_headers

    return (name.removesuffix(".yaml") for name in config_headers())


def _runs() -> Iterable[str]:
    from tasks.stages.runs.run_store import list_runs
    from tasks.storage.home import current_home

    return ["latest", *(run.id for run in list_runs(current_home()))]


def _things() -> Iterable[str]:
    from tasks.stages.runs.aliases import list_aliases
    from tasks.stages.runs.run_journal import stage_events
    from tasks.stages.runs.run_store import latest_run
    from tasks.storage.home import current_home

    home = current_home()
    run = latest_run(home)
    labels = {one["label"] for one in stage_events(home, run.id)} if run else set()
    # A name with a space would be several words to the shell.
    made = sorted(f"latest/{label}" for label in labels if label and " " not in label)
    aliases = (f"{one.flow}/{one.alias}" for one in list_aliases(home))
    return [*_runs(), *made, *aliases]


flow_names = _offering(_flows)
"""Completes the name of a flow."""
alias_flow_names = _offering(_flows_of_aliases)
"""Completes the name of a flow that has a candidate or a champion, its project before it."""
config_names = _offering(_configs)
"""Completes the name of a ready configuration; the shell itself completes paths."""
run_names = _offering(_runs)
"""Completes the id of a run."""
thing_names = _offering(_things)
"""Completes the name of a run, or of what the newest run made."""
