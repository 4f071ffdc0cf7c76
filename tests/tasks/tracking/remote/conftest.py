"""A remote on the real S3 server."""

from __future__ import annotations

import pytest

from tasks.tracking.remote.s3 import S3Remote
from tests.servers.swift import SwiftServer


@pytest.fixture
def remote(s3: SwiftServer) -> S3Remote:
    """A bucket of its own for each test; a test file may have a `remote` of another kind."""
    return S3Remote(s3.bucket(), "team/one")
