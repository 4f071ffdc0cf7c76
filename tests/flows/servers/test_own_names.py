"""Which requests a server without a password answers: for its own names, from its own pages."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from flows.servers.own_names import only_own_names


async def _answer(request: Request) -> Response:
    return PlainTextResponse("answered")


async def _talk(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("talked")
    await socket.close()


def _client(*origins: str) -> TestClient:
    routes = [Route("/x", _answer, methods=["GET", "POST"]), WebSocketRoute("/talk", _talk)]
    return TestClient(only_own_names(Starlette(routes=routes), origins))


@pytest.mark.parametrize(
    ("headers", "is_answered"),
    [
        ({"Host": "127.0.0.1:4200"}, True),
        ({"Host": "LocalHost:8000", "Origin": "http://localhost:8000"}, True),  # by a tunnel
        ({"Host": "[::1]:4200", "Origin": "http://[::1]:4200"}, True),
        ({"Host": "runs.example.org", "Origin": "https://runs.example.org"}, True),
        ({"Host": "127.0.0.1:4200", "Origin": "https://runs.example.org"}, True),
        ({"Host": "evil.example.org"}, False),
        ({"Host": "127.0.0.1.evil.example.org:4200"}, False),
        ({"Host": "10.evil.example.org"}, False),
        ({"Host": "localhost@evil.example.org"}, False),
        ({"Host": "[::1].evil.example.org"}, False),
        ({"Host": ""}, False),
        ({"Host": "127.0.0.1:4200", "Origin": "http://evil.example.org"}, False),
        ({"Host": "127.0.0.1:4200", "Origin": "http://127.0.0.1:3000"}, False),
        ({"Host": "127.0.0.1:4200", "Origin": "null"}, False),
    ],
)
def test_only_own_names_and_pages_are_answered(headers: dict[str, str], is_answered: bool) -> None:
    client = _client("https://runs.example.org/", "")
    for method in ("GET", "POST"):
        reply = client.request(method, "/x", headers=headers)
        assert (reply.status_code, reply.text == "answered") == (
            (200, True) if is_answered else (403, False)
        )
    if is_answered:
        with client.websocket_connect("/talk", headers=headers) as socket:
            assert socket.receive_text() == "talked"
        return
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/talk", headers=headers):
        pass


def test_whoever_names_every_origin_lets_every_page_in() -> None:
    headers = {"Host": "evil.example.org", "Origin": "http://evil.example.org"}
    assert _client("*").get("/x", headers=headers).text == "answered"
