"""A request that the database was too busy for is answered at the next attempt."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from flows.servers import sqlite_retry
from flows.servers.sqlite_retry import PAUSES, retrying


class Busy(Exception):
    """The database was busy."""


class Server:
    """Answers `refusals` requests with an error that is told as 503, then says what it got."""

    def __init__(self, refusals: int, status: int = 503) -> None:
        self.refusals, self.status, self.bodies = refusals, status, []

    async def answer(self, request: Request) -> Response:
        self.bodies.append(await request.body())
        if len(self.bodies) <= self.refusals:
            raise Busy
        return JSONResponse({"asked": len(self.bodies), "path": request.url.path})

    async def stream(self, request: Request) -> Response:
        return StreamingResponse(iter([b"one", b"two"]))

    async def talk(self, socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text((await socket.receive_text()).upper())
        await socket.close()

    @property
    def client(self) -> TestClient:
        """A client of the server behind `retrying`."""

        # As Prefect's own: Starlette answers with it, and raises the error all the same.
        async def told(request: Request, error: Exception) -> Response:
            return PlainTextResponse("busy", status_code=self.status)

        app = Starlette(
            routes=[
                Route("/asked/{name}", self.answer, methods=["POST"]),
                Route("/stream", self.stream),
                WebSocketRoute("/talk", self.talk),
            ],
            exception_handlers={Exception: told},
        )
        return TestClient(retrying(app), raise_server_exceptions=False)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_retry, "PAUSES", (0.0,) * len(PAUSES))


@pytest.mark.parametrize("refusals", range(len(PAUSES) + 1))
def test_it_is_asked_again_with_the_same_body(refusals: int) -> None:
    server = Server(refusals)
    answer = server.client.post("/asked/x", content=b"slots")
    assert answer.json() == {"asked": refusals + 1, "path": "/asked/x"}
    assert server.bodies == [b"slots"] * (refusals + 1)


def test_a_database_that_stays_busy_is_told_to_the_client() -> None:
    server = Server(99)
    answer = server.client.post("/asked/x")
    assert (answer.status_code, answer.text) == (503, "busy")
    assert len(server.bodies) == len(PAUSES) + 1


def test_another_error_is_told_at_once() -> None:
    server = Server(99, status=500)
    assert server.client.post("/asked/x").status_code == 500
    assert len(server.bodies) == 1


def test_streams_and_sockets_pass_through() -> None:
    client = Server(0).client
    assert client.get("/stream").content == b"onetwo"
    with client.websocket_connect("/talk") as socket:
        socket.send_text("hello")
        assert socket.receive_text() == "HELLO"


def test_a_body_in_pieces_is_whole_and_one_that_breaks_off_is_not_passed_on() -> None:
    asked: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.append((await receive())["body"])

    def ask(*messages: dict[str, Any]) -> None:
        left = iter(messages)

        async def receive() -> Any:
            return next(left)

        async def send(message: Any) -> None:
            raise AssertionError(message)

        asyncio.run(retrying(app)({"type": "http"}, receive, send))

    first = {"type": "http.request", "body": b"sl", "more_body": True}
    ask(first, {"type": "http.request", "body": b"ots"})
    assert asked == [b"slots"]
    ask(first, {"type": "http.disconnect"})
    assert asked == [b"slots"]
