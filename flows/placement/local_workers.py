"""Independent branches of a flow side by side on this machine, by worker processes of its own.

Training sets the random streams and kernels of its whole process, so branches cannot share one. A
worker lives as long as the block, makes one stage call after the other, for one branch and then
for another, and dies with the flow's process. One that has GPUs has them for its branch alone, and
ends with it. What is placed on a pool of Prefect goes there from every branch.

Prefect's `ProcessPoolTaskRunner` does not serve here: a process of its pool that is killed fails
every other branch too (`BrokenProcessPool`), where a worker is started again and its stage goes on
from its checkpoint; and on SIGTERM it waits for its tasks instead of having them save their state.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flows.placement.remote_result import MOST_ATTEMPTS, error_named, made_elsewhere
from flows.placement.worker_process import LocalWorker
from tasks.processes.termination import terminate_as_interrupt
from tasks.settings.errors import StageError
from tasks.stages.artifact import Artifact
from tasks.stages.call import StageCall
from tasks.stages.leases.gpus import gpus_here, held_gpus
from tasks.stages.lookup import find_done
from tasks.stages.remote.call_message import describe_call
from tasks.stages.runs.context import Dispatch, Listener, RunContext, StageRecord

Item = TypeVar("Item")
Result = TypeVar("Result")
_THREADS = "local-worker"


@contextmanager
def side_by_side(run: RunContext, count: int) -> Iterator[LocalWorkers]:
    """Have local workers for so many branches at once during the block.

    With 1, and in a plan, branches are taken one by one in this process.
    """
    workers = LocalWorkers(run, count if run.mode == "execute" else 1, run.dispatch)
    if workers.count > 1:
        run.dispatch = workers
    try:
        yield workers
    finally:
        run.dispatch = workers.inner
        workers.hang_up()


@dataclass
class LocalWorkers:
    """The worker processes of a run; a `Dispatch` for the threads in which its branches are."""

    run: RunContext
    """The run whose branches they are."""
    count: int
    """How many branches are worked on at once."""
    inner: Dispatch | None
    """Gives placed stages to pools; None where no stage is placed."""
    _here: threading.local = field(default_factory=threading.local)
    _all: list[LocalWorker] = field(default_factory=list)
    _is_stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Name the threads; each keeps its worker, which the kernel ends with the thread."""
        self._threads = ThreadPoolExecutor(self.count, thread_name_prefix=_THREADS)

    def map(self, items: Iterable[Item], do: Callable[[Item], Result]) -> list[Result]:
        """Apply a function to each item, several at once; return the results in the items' order.

        After an error no further item is begun, those begun are finished, and it is raised. The
        function calls stages; it must not change what another item reads.
        """
        if self.count == 1:
            return [do(item) for item in items]
        # A task run finds its flow run in the context; each thread needs a copy of its own.
        work = [(contextvars.copy_context(), item) for item in items]
        futures = [
            self._threads.submit(context.run, self._follow, do, item) for context, item in work
        ]
        try:
            with terminate_as_interrupt():
                _wait_for_all(futures)
        except BaseException:
            self._stop()
            raise
        finally:
            for future in futures:
                future.cancel()
            try:
                wait(futures)
            except BaseException:
                # Told to stop now, while they were saving.
                self._stop()
                raise
        return [future.result() for future in futures]

    def _follow(self, do: Callable[[Item], Result], item: Item) -> Result:
        """Do one item in this thread, whose worker gives its GPUs back then; others stay."""
        try:
            return do(item)
        finally:
            if (worker := self._worker) is not None and worker.gpus:
                self._dismiss(worker)

    def takes(self, call: StageCall) -> bool:
        """Tell whether a call is made elsewhere: on a pool, or by this branch's worker."""
        if self.inner is not None and self.inner.takes(call):
            return True
        is_branch = threading.current_thread().name.startswith(_THREADS)
        return is_branch and not call.is_pending and find_done(self.run, call) is None

    def __call__(self, call: StageCall, listener: Listener) -> tuple[Artifact, StageRecord]:
        """Have a call made, and wait for its end.

        Raises:
            SparringError: What its body raised, or that its process died too often.
        """
        if self.inner is not None and self.inner.takes(call):
            return self.inner(call, listener)
        return made_elsewhere(
            self.run, call, lambda: self._make(call, listener), gpus_here(call.gpus)
        )

    def _make(self, call: StageCall, listener: Listener) -> int:
        description = describe_call(call, self.run.run_id)
        for _ in range(MOST_ATTEMPTS):
            worker = self._worker_for(call)
            answer = worker.make(description, self._events_of(call, listener))
            if answer is not None and answer["state"] in ("completed", "cached"):
                return int(answer["attempt"])
            if answer is not None and answer["state"] == "failed":
                raise error_named(answer["error"], answer["message"])
            self._here.worker = None
            if self._is_stopping.is_set():
                raise KeyboardInterrupt(f"{call.title} is to stop; its finished parts are kept")
            self.run.progress.note(call.title, f"{worker.death()}; it is begun again")
        raise StageError(
            f"{call.title} was begun {MOST_ATTEMPTS} times and its process died each time; the "
            f"last time {worker.death()}: is there enough memory for placement.side_by_side "
            f"{self.count}?"
        )

    def _events_of(self, call: StageCall, listener: Listener) -> Callable[[str, list[Any]], None]:
        def on_event(event: str, values: list[Any]) -> None:
            if event == "progress":
                listener(*values)
            getattr(self.run.progress, event)(call.title, *values)

        return on_event

    @property
    def _worker(self) -> LocalWorker | None:
        """This thread's worker."""
        return getattr(self._here, "worker", None)

    def _worker_for(self, call: StageCall) -> LocalWorker:
        """Return this thread's worker, with the GPUs that a call uses; started if there is none."""
        gpus = gpus_here(call.gpus)
        if (worker := self._worker) is not None and gpus not in (0, worker.gpus):
            # Before it waits for others: two that each kept some would wait for each other.
            self._dismiss(worker)
        if (worker := self._worker) is None:

            def say(text: str) -> None:
                self.run.progress.note(call.title, text)

            with held_gpus(gpus, say, stopping=self._is_stopping) as held:
                worker = self._here.worker = LocalWorker(self.run, self.count, held)
            self._all.append(worker)
        return worker

    def _dismiss(self, worker: LocalWorker) -> None:
        """Let this thread's worker end."""
        worker.close()
        self._all.remove(worker)
        self._here.worker = None

    def _stop(self) -> None:
        """Ask every process to save its state and end."""
        self._is_stopping.set()
        for worker in list(self._all):
            worker.process.terminate()

    def hang_up(self) -> None:
        """Let the threads end, and their processes."""
        self._threads.shutdown()
        for worker in self._all:
            worker.close()
        self._all.clear()


def _wait_for_all(futures: list[Future[Any]]) -> None:
    """Wait until all are done, or one failed; then begin no other, and raise its error."""
    wait(futures, return_when="FIRST_EXCEPTION")
    for future in futures:
        future.cancel()
    wait(futures)
    for future in futures:
        if not future.cancelled():
            future.result()
