"""`sparring rehearse`: a configuration made small and run whole, and what the real run needs."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from flows.configs.base import FlowConfig
from flows.registry import FlowEntry
from flows.rehearsal.amounts import Amounts
from flows.rehearsal.machines import Machine, named_machine, this_machine
from flows.rehearsal.performance import Failure, Performance, environment, perform, plan_calls
from flows.rehearsal.work import Need, Shapes, Work
from flows.runs.console import quiet_libraries
from flows.runs.preflight import check_files, check_models
from flows.runs.runner import prefect_server
from flows.runs.terminal import TerminalSink
from flows.shrinking.config import Smallness, shrink_data, shrink_work
from flows.shrinking.models import SmallModel, with_small_models
from flows.steps.hub_commits import pinned
from tasks.endpoints.config import EndpointConfig
from tasks.settings.base import FrozenConfig
from tasks.settings.errors import ConfigError
from tasks.settings.parts import configs_in
from tasks.stages.leases.gpus import visible_gpus
from tasks.storage.durable import make_folder
from tasks.storage.home import current_home
from tasks.tracking.remote.opening import open_remote

_REPORT = "write_"
"""How the names of the stages begin that write reports."""


class Watcher(TerminalSink):
    """Shows the stages of the small run; what a report finds of random models says nothing."""

    def note(self, title: str, text: str) -> None:
        """Print one sentence, unless it is a report's."""
        if not title.startswith(_REPORT):
            super().note(title, text)


class Options(NamedTuple):
    """How a configuration is rehearsed."""

    small: Smallness = Smallness()
    """How much of the data and the work is left."""
    model: SmallModel = SmallModel()
    """How much of the models is left."""
    device: str | None = None
    """Name of the GPU that the real run will have; None for this machine."""
    folder: Path | None = None
    """Where the small run's home lies, and stays; None is a temporary place."""
    placed: bool = False
    """Whether stages go to the pools and artifacts to the remote that the real run has."""


class Rehearsal(NamedTuple):
    """What is known after a rehearsal."""

    performance: Performance
    """How the small run went."""
    needs: list[Need]
    """What each stage of the real run takes."""
    machine: Machine
    """What that was compared with; of placed stages only where a device was named."""
    is_judged: bool
    """Whether memory was compared at all."""
    disk: float
    """Bytes that are free where the real run's home lies."""
    unknown: list[str]
    """Sources whose number of rows nobody says."""
    pays: bool = False
    """Whether the real run asks a paid server, as no rehearsal does."""

    @property
    def failures(self) -> list[Failure]:
        """Everything that would have gone wrong: while it ran, or for want of room."""
        return [*self.performance.failures, *self._without_room()]

    @property
    def stored(self) -> float:
        """Bytes that the run leaves on the disk."""
        return sum(one.stored for one in self.needs)

    @property
    def working(self) -> float:
        """Bytes of the largest checkpoints beside them."""
        return max((one.working for one in self.needs), default=0.0)

    @property
    def device_hours(self) -> float:
        """Hours of one device, all processes of the stages that have a model counted."""
        needs = [one for one in self.needs if one.models]
        return sum((one.seconds + one.overhead) * one.processes for one in needs) / 3600

    @property
    def hours(self) -> float:
        """Hours of the run, one stage after the other."""
        return sum(one.seconds + one.overhead for one in self.needs) / 3600

    @property
    def rehearsed(self) -> float:
        """Hours of the rehearsal's own stages."""
        return sum(one.seconds for one in self.performance.records) / 3600

    def _without_room(self) -> Iterator[Failure]:
        memory, name = self.machine.memory, self.machine.name
        for need in self.needs if self.is_judged else ():
            if need.memory > memory:
                yield Failure(
                    need.title,
                    f"a process needs {need.memory / 1e9:.0f} GB and {name} has "
                    f"{memory / 1e9:.0f} GB: share it by training.deepspeed and processes, train "
                    "less of it by training.lora, keep less by gradient_checkpointing or fewer "
                    "micro_batch_tokens, or take a larger device",
                )
        if (needed := self.stored + self.working) > self.disk:
            yield Failure(
                "disk",
                f"the run leaves {self.stored / 1e9:.0f} GB and needs {self.working / 1e9:.0f} GB "
                f"for checkpoints, together {needed / 1e9:.0f} GB, and {self.disk / 1e9:.0f} GB "
                "are free: name a larger disk in SPARRING_HOME, or keep fewer snapshots",
            )


def rehearse(
    entry: FlowEntry, config: FrozenConfig, options: Options, console: Console
) -> Rehearsal:
    """Run a configuration small and whole, and project the real run.

    Nothing of it is kept, and no server is started.

    Raises:
        ConfigError: The configuration is of no flow that trains, a file, a model or the hub is
            missing, or there is no room for the rehearsal itself.
    """
    if not isinstance(config, FlowConfig):
        raise ConfigError(f"{entry.name} trains nothing, so there is nothing to rehearse")
    quiet_libraries()
    machine = named_machine(options.device) if options.device else _this_machine(console)
    disk = float(_free(current_home().root))
    config = pinned(config)
    check_files(config)
    check_models(config)
    real = current_home()
    with _corner(options) as folder:
        reading = shrink_data(config, options.small)
        reading, stands_for = with_small_models(reading, folder / "models", options.model)
        # Before anything is done, so that every artifact is still named by the stage it comes from.
        calls = plan_calls(entry, reading)[1]
        sink = Watcher(console)
        with sink.live():
            small = shrink_work(reading, options.small, placed=options.placed)
            server = partial(prefect_server, real, console) if options.placed else None
            performance = perform(entry, small, sink, server)
        amounts = Amounts(config, calls, performance.records, options.small.rows)
        shapes = Shapes(calls, stands_for)
        work = Work(calls, shapes, amounts, performance.records, machine)
        is_judged = options.device is not None or not config.placement.places()
        needs = list(work.needs())
        pays = any(isinstance(part, EndpointConfig) for _, part in configs_in(config))
        unknown = sorted(set(amounts.unknown))
        return Rehearsal(performance, needs, machine, is_judged, disk, unknown, pays)


def _this_machine(console: Console) -> Machine:
    # On a GPU that nobody else has: others would slow it down, and it stays where it began.
    with visible_gpus(1, console.print):
        return this_machine()


@contextmanager
def _corner(options: Options) -> Iterator[Path]:
    """Have a home of its own during the block, and a place of its own on the remote if asked.

    Both are removed afterwards, but for a folder that the user named.
    """
    folder = options.folder
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty: name another --folder for the rehearsal")
    place = (folder or Path(tempfile.mkdtemp(prefix="sparring-rehearsal-"))).absolute()
    whole = open_remote() if options.placed else None
    url = f"{whole.url}/rehearsals/{secrets.token_hex(4)}" if whole else None
    changes = {
        "SPARRING_HOME": str(place / "home"),
        "SPARRING_REMOTE": url,
        "MLFLOW_TRACKING_URI": f"sqlite:///{place}/mlflow.db",
    }
    # A shared folder is made by its first run, where its disk is mounted; a bucket has no folders.
    if whole and url and Path(whole.url).is_absolute() and Path(whole.url).parent.is_dir():
        make_folder(Path(url))
    try:
        with environment(changes):
            yield place
    finally:
        if url and (remote := open_remote(url)):
            for name in remote.names(""):
                remote.delete(name)
            shutil.rmtree(url, ignore_errors=True)
        if folder is None:
            shutil.rmtree(place, ignore_errors=True)


def _free(path: Path) -> int:
    there = next(one for one in (path, *path.absolute().parents) if one.exists())
    return shutil.disk_usage(there).free
