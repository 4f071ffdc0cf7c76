"""Does again, at once, what Prefect's server could not do because its SQLite file was busy.

A transaction that has read before another one wrote can write no more. The server then answers 503
and its client waits two seconds before it asks again; that was every third stage of a run. A few
hundredths of a second are enough, and nothing of the refused transaction was kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

PAUSES = (0.02, 0.05, 0.1, 0.2)
"""Seconds before each further attempt; after them the client hears the 503 and waits itself."""
_UNAVAILABLE = 503


def retrying(app: App) -> App:
    """Return an ASGI application that repeats as a whole a request which `app` answers with 503."""

    async def answer(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        body = await _whole_body(receive)
        if body is None:
            return
        for pause in PAUSES:
            if await _is_answered(app, dict(scope), _received(body, receive), send):
                return
            await asyncio.sleep(pause)
        await app(scope, _received(body, receive), send)

    return answer


async def _is_answered(app: App, scope: Message, receive: Receive, send: Send) -> bool:
    """Pass on any answer but a 503, and tell whether there was one."""
    refused = False

    async def hold(message: Message) -> None:
        nonlocal refused
        if message["type"] == "http.response.start":
            refused = message["status"] == _UNAVAILABLE
        if not refused:
            await send(message)

    try:
        await app(scope, receive, hold)
    except Exception:
        # Starlette raises an error once more after it has answered it.
        if not refused:
            raise
    return not refused


async def _whole_body(receive: Receive) -> bytes | None:
    """Return a request's body; None if the client left before its end."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return body


def _received(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the whole body first, then what else there is to hear."""
    given = False

    async def give() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return give
