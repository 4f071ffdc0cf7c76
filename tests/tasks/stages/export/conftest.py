"""The small store, made once, and what exports from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.stages.export.publishing import Exported, export_output
from tasks.stages.lineage.reading import lineage_graph
from tasks.stages.manifest import Manifest
from tasks.storage.home import Home
from tests.tasks.stages.export.small_store import small_store

Export = Callable[..., Exported]


@pytest.fixture(scope="package")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home for all tests of the package, which only read it."""
    return Home(tmp_path_factory.mktemp("home")).ensure()


@pytest.fixture(scope="package")
def made(home: Home) -> dict[str, Manifest]:
    """The outputs in it, by name."""
    return small_store(home)


@pytest.fixture(scope="package")
def export(home: Home, made: dict[str, Manifest]) -> Export:
    """Exports an output by its name."""
    graph = lineage_graph(home)

    def write(name: str, folder: Path, **options: Any) -> Exported:
        node = graph.nodes[f"{made[name].stage}/{made[name].key}"]
        return export_output(home, graph, node, folder, **options)

    return write
