"""Configuration of where stages run: here, or on the worker pools of Prefect."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tasks.settings.base import FrozenConfig

Name = Annotated[str, Field(min_length=1, pattern=r"^[^/%&<>]+$")]
"""What Prefect takes as the name of a pool or a queue."""


class Place(FrozenConfig):
    """A work pool, and the share of it that these stages get."""

    pool: Name
    """Name of a Prefect work pool of any type; `prefect work-pool create NAME --type process`."""

    slots: int | None = Field(default=None, ge=1)
    """GPUs that these stages use at once, however many each of them uses; of `cpu`, stages that run
    at once. It is the limit of the queue too. Default: the queue's own limit, which Prefect leaves
    open."""

    priority: int | None = Field(default=None, ge=1)
    """Of the queue among those of its pool; 1 is served first. Default: as Prefect has it."""

    queue: Name | None = None
    """Queue of the pool. Default: the pool's default queue; with `slots` or `priority` a queue that
    is called `gpu` or `cpu`, as the default queue is everybody's."""


class Placement(FrozenConfig):
    """Which stages run on which pool; those that no entry names run in the flow's own process."""

    gpu: Name | Place | None = None
    """Pool of the stages that want a GPU: its name, or `{pool, slots, priority, queue}`. Default:
    none, they run here."""

    cpu: Name | Place | None = None
    """Pool of the other stages, in the same form. Default: none, they run here."""

    side_by_side: int = Field(default=1, ge=1)
    """Branches of a sweep that are worked on at once, each by a process of its own with its share
    of this machine's cores, or on the pools. Changes the time, never a result. Default 1: one after
    the other."""

    def places(self) -> dict[str, Place]:
        """Return the place of each kind of stage that has one, with the name of its queue."""
        given = {"gpu": self.gpu, "cpu": self.cpu}
        return {kind: _settled(item, kind) for kind, item in given.items() if item is not None}


def _settled(given: str | Place, kind: str) -> Place:
    """Return a place that says all of it."""
    place = Place(pool=given) if isinstance(given, str) else given
    own = place.slots is not None or place.priority is not None
    return place.model_copy(update={"queue": place.queue or (kind if own else "default")})
