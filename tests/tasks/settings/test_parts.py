"""The parts of a configuration, found and changed at every depth."""

from __future__ import annotations

from typing import Annotated, Any

from tasks.settings.base import GPUS, FrozenConfig
from tasks.settings.parts import configs_in, gpus_in, with_parts


class Inner(FrozenConfig):
    """The inside."""

    rate: float = 1.0


class Parallel(FrozenConfig):
    """What takes GPUs."""

    processes: Annotated[int, GPUS] = 1
    """One per GPU."""


class Sweep(FrozenConfig):
    """What takes GPUs at several places."""

    training: Parallel = Parallel()
    branches: tuple[Parallel, ...] = ()
    named: dict[str, Parallel | None] = {}
    epochs: int = 16


def test_fields_that_count_gpus_are_found_at_every_depth() -> None:
    config = Sweep(branches=(Parallel(), Parallel(processes=4)), named={"a": Parallel(), "b": None})
    assert dict(gpus_in(config)) == {
        "training.processes": 1,
        "branches.0.processes": 1,
        "branches.1.processes": 4,
        "named.a.processes": 1,
    }
    assert list(gpus_in(Inner())) == list(gpus_in(None)) == []


def test_each_config_is_found_with_its_key_before_those_inside() -> None:
    config = Sweep(branches=(Parallel(processes=4),), named={"a": Parallel(), "b": None})
    assert [key for key, _ in configs_in(config)] == ["", "training", "branches.0", "named.a"]
    assert [one for _, one in configs_in(config)][2] is config.branches[0]


def test_what_changes_is_made_anew_and_the_rest_is_the_same_object() -> None:
    config = Sweep(branches=(Parallel(processes=4), Parallel()), named={"a": Parallel(), "b": None})

    def halved(value: Any) -> Any:
        if isinstance(value, Parallel):
            return Parallel(processes=2) if value.processes == 4 else value
        return with_parts(value, halved)

    found = halved(config)
    assert [one.processes for one in found.branches] == [2, 1]
    assert found.training is config.training and found.named is config.named
    assert isinstance(found.branches, tuple) and config.branches[0].processes == 4
    assert halved(found) is found
    assert with_parts({"a": 4}, lambda value: value // 2) == {"a": 2}
    assert with_parts("text", halved) == "text"
