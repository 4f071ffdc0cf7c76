"""The log of a stage's body: where its metrics, progress and notes go."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tasks.processes.machine_metrics import MachineMeter
from tasks.settings.printable import printable
from tasks.stages.call import StageCall
from tasks.stages.manifest import Manifest
from tasks.stages.runs.context import Listener, RunContext, noting_failure
from tasks.storage.digests import FileDigest
from tasks.storage.errors import StorageError

_SHOWN = frozenset({".md", ".html", ".png", ".svg", ".csv", ".json"})
_LARGEST_SHOWN = 2_000_000


class StageLog:
    """The `Log` of one attempt: metrics to the spool, progress to whoever watches."""

    def __init__(
        self, run: RunContext, call: StageCall, attempt: int, listener: Listener | None
    ) -> None:
        self._run, self._call, self._attempt = run, call, attempt
        self._listener = listener
        self._has_warned = False
        self._machine = MachineMeter() if call.spec.produces else None

    def __call__(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Record metrics and show them; of a training also how busy its machine is."""
        self.record(metrics, step)
        self._run.progress.metrics(self._call.title, metrics, step)
        if self._machine is not None and step is not None:
            self.record(self._machine.sample(), step)

    def record(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record metrics without showing them."""
        if self._run.spool is None or not metrics:
            return
        try:
            self._run.spool.metrics(self._call.key, metrics, step=step, attempt=self._attempt)
        except (OSError, StorageError) as error:
            if not self._has_warned:
                self._run.progress.note(self._call.title, f"metrics are not recorded: {error}")
                self._has_warned = True

    def record_files(self, manifest: Manifest) -> None:
        """Record the small files that a person may want to read in MLflow: reports and plots."""
        folder = manifest.folder(self._run.home)
        paths = [folder / file.path for file in manifest.files if _is_readable(file)]
        if self._run.spool is None or not paths:
            return
        with noting_failure(self._run, self._call.title, "its files are not recorded"):
            self._run.spool.files(self._call.key, paths)

    def note(self, text: str) -> None:
        """Show the user one sentence."""
        self._run.progress.note(self._call.title, printable(text))

    def progress(self, done: int, total: int, unit: str) -> None:
        """Show how much of the work is done."""
        self._run.progress.progress(self._call.title, done, total, unit)
        if self._listener is not None:
            self._listener(done, total, unit)


def _is_readable(file: FileDigest) -> bool:
    """Tell whether MLflow gets a copy; weights and data are in the store alone."""
    at_top = "/" not in file.path
    return at_top and file.size <= _LARGEST_SHOWN and Path(file.path).suffix in _SHOWN
