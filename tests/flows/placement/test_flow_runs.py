"""Asking Prefect's server for flow runs while it may be away."""

from __future__ import annotations

from uuid import uuid4

import httpx

from flows.placement.flow_runs import may_pass


def test_a_server_that_is_away_is_told_from_one_that_refuses() -> None:
    request = httpx.Request("GET", f"http://127.0.0.1/{uuid4()}")
    assert may_pass(httpx.ConnectError("refused"))
    for code, passes in ((500, True), (503, True), (401, False), (422, False)):
        response = httpx.Response(code, request=request)
        assert may_pass(httpx.HTTPStatusError("no", request=request, response=response)) is passes
