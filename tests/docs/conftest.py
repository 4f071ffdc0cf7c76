"""A project in which the tutorial has been typed, shared by the tests of the other pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.docs.project import Project, kept_servers


@pytest.fixture(scope="session")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The tutorial, typed with a smaller model on fewer pairs."""
    yield from kept_servers(tmp_path_factory.mktemp("docs") / "project")
