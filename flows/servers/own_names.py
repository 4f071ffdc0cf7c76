"""Whom a server without a password answers: requests for one of its own names, from its own pages.

Any page that a browser on this machine has open may send requests to loopback, and with a host name
that its owner points at 127.0.0.1 (DNS rebinding) read the answers too. It cannot hide the name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from flows.servers.sqlite_retry import App, Message, Receive, Send

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
"""What this machine calls itself, as it stands in a URL."""
_REFUSAL = (
    b"this server answers only to its own names and pages; "
    b"PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS names more"
)


def only_own_names(app: App, origins: Iterable[str]) -> App:
    """Return an ASGI application that refuses requests for other names, and from other pages.

    Args:
        app: What answers the others.
        origins: Further addresses of the server, as a proxy in front of it has, such as
            `https://runs.example.org`; `*` lets every page in.
    """
    further = {origin.strip().rstrip("/").lower() for origin in origins} - {""}
    names = {*LOCAL_NAMES, *(_name(urlsplit(origin).netloc) for origin in further)}

    def is_ours(scope: Message) -> bool:
        headers = {key: value.decode("latin-1").lower() for key, value in scope["headers"]}
        host, origin = headers.get(b"host", ""), headers.get(b"origin")
        is_own_page = origin is None or origin in further or urlsplit(origin).netloc == host != ""
        return "*" in further or (_name(host) in names and is_own_page)

    async def answer(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or is_ours(scope):
            await app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            kind = [(b"content-type", b"text/plain")]
            await send({"type": "http.response.start", "status": 403, "headers": kind})
            await send({"type": "http.response.body", "body": _REFUSAL})

    return answer


def _name(host: str) -> str:
    """Return a host without its port; an IPv6 address keeps its brackets."""
    return re.sub(r":\d*$", "", host)
