"""A run within its budget: dollars, tokens, hours and hours of GPUs, over all its attempts.

Dollars and tokens are refused by the ledger, call by call. The hours are looked at every few
seconds; at the cap the run is interrupted as by Ctrl-C, so that it saves how far it is.
"""

from __future__ import annotations

import contextvars
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import FlowRun
from prefect.logging import get_run_logger

from flows.configs.recurring import RunBudget
from flows.runs.cost import parts_of_run, told_shares
from tasks.endpoints.config import EndpointConfig
from tasks.endpoints.ledger import Ledger
from tasks.endpoints.prices import Budget
from tasks.settings.errors import BudgetExhausted, SparringError
from tasks.settings.parts import configs_in
from tasks.stages.runs.context import RunContext
from tasks.stages.runs.usage import UsageMeter
from tasks.storage.errors import StorageError

_LOOK_SECONDS = 5.0
_STOPPING = frozenset({"hours", "gpu_hours"})
_log = logging.getLogger("sparring.flows")


@contextmanager
def within_budget(run: RunContext, config: object, flow_run: FlowRun | None) -> Iterator[None]:
    """Let the work inside the block use no more than the run's budget, and count what it uses.

    `config` is the flow's configuration, with the budget and the paid servers.

    Raises:
        BudgetExhausted: The hours or the hours of GPUs are used up; the run can be resumed.
    """
    pays = any(isinstance(part, EndpointConfig) for _, part in configs_in(config))
    watch = _Watch(run, getattr(config, "budget", RunBudget()), flow_run, pays)
    watch.begin()
    try:
        yield
    except KeyboardInterrupt:
        if watch.exhausted:
            watch.look()  # what it took until the step that was under way was saved counts too
            raise BudgetExhausted(watch.exhausted) from None
        raise
    finally:
        watch.end()


class _Watch:
    """Looks at what a run has used, every few seconds."""

    def __init__(
        self, run: RunContext, budget: RunBudget, flow_run: FlowRun | None, pays: bool
    ) -> None:
        self._run, self._budget, self._flow_run = run, budget, flow_run
        # Only what is capped, or pays, has a reason to wait for the remote.
        is_capped = budget.hours is not None or budget.gpu_hours is not None
        self._meter = UsageMeter(run.home, run.run_id, run.remote if is_capped else None)
        self._ledger = Ledger(run.home.ledger, run.remote if pays else None)
        self._told: set[str] = set()
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self.exhausted = ""

    def begin(self) -> None:
        """Refuse a run that has used it all, and begin to look."""
        self._ledger.set_cap(
            self._run.run_id, Budget(dollars=self._budget.dollars, tokens=self._budget.tokens)
        )
        self.look()
        if self.exhausted:
            raise BudgetExhausted(self.exhausted)
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=[self._watch], daemon=True).start()

    def end(self) -> None:
        """Look no more; what was used is a metric of the run."""
        with self._lock:
            self._is_over.set()
        run = self._run
        try:
            costs = {f"cost/{name}": value for name, value in self._used().items()}
            entries = [one for one in self._ledger.entries() if one.account.run == run.run_id]
            for part in parts_of_run(run.home, run.run_id, entries):
                values = {"hours": part.hours, "gpu_hours": part.gpu_hours}
                values |= part.charge._asdict() if part.requests else {}
                costs |= {f"cost/{part.name}/{name}": value for name, value in values.items()}
            if run.spool is not None:
                run.spool.metrics("", costs, step=None, attempt=1)
        except (OSError, StorageError, SparringError) as error:
            _log.warning("what the run used could not be written down: %s", error)

    def _watch(self) -> None:
        while not self._is_over.wait(_LOOK_SECONDS):
            self.look()
            with self._lock:
                if self.exhausted and not self._is_over.is_set():
                    os.kill(os.getpid(), signal.SIGINT)
                    return

    def _used(self) -> dict[str, float]:
        self._ledger.catch_up()
        paid = self._ledger.spent_by(self._run.run_id)
        return {**paid._asdict(), **self._meter.keep()._asdict()}

    def look(self) -> None:
        """Say what is new to be said, and note whether the run must stop."""
        try:
            used = self._used()
        except (OSError, StorageError) as error:
            _log.warning("what the run used could not be written down: %s", error)
            return
        for name, sentence in told_shares(self._budget, used).items():
            if name not in self._told:
                self._told.add(name)
                self._say(sentence)
            cap = getattr(self._budget, name)
            if name in _STOPPING and used[name] >= cap and used[name]:
                over = "; a step that has begun is ended first" if used[name] > cap > 0 else ""
                self.exhausted = (
                    f"{sentence}{over}; what is done is kept: `sparring resume "
                    f"{self._run.run_id} --set budget.{name}=…` with more goes on from here"
                )

    def _say(self, sentence: str) -> None:
        """Say it where the run is watched, and on its page in Prefect."""
        self._run.progress.note("budget", sentence)
        if self._flow_run is None:
            return
        try:
            get_run_logger().warning("budget: %s", sentence)
            create_markdown_artifact(
                f"{self._run.run_id}: {sentence}", key="budget", description="Budget of the run"
            )
        except Exception as error:  # a page never stops the work
            _log.warning("the budget is not on Prefect's page: %s", error)
