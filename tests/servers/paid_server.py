"""A chat server that bills what it answers, and loses or spoils a share of its answers on the way.

Where it stands before a real server (`upstream`) it is a proxy. In a test's own process:
`with PaidServer(faults=0.3) as server`. It remembers each request that it was sent, and each that
it billed.
"""

from __future__ import annotations

import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]
PROMPT_TOKENS, COMPLETION_TOKENS = 20, 10
BROKEN = (
    b"",
    b"<html><body>502 Bad Gateway</body></html>",
    b'{"choices": [{"message": {"role": "assistant", "content": "hal',
)
"""What an answer may become on its way."""
USELESS = (
    b'{"result": "fine"}',
    b'{"error": {"message": "out of memory"}}',
    b'{"choices": [{"message": {"content": ""}, "finish_reason": "stop"}]}',
    b'{"choices": [{"message": {"content": "bad"}, "finish_reason": "abort"}]}',
)
"""What a server may make in place of an answer."""
KINDS = ("429", "500", "timeout", "reset", "garbage")


def said(body: Body) -> str:
    """Return the last turn of a request: what a test knows it by."""
    text = body["messages"][-1]["content"]
    assert isinstance(text, str)
    return text


def chat_answer(
    body: Body, text: str | None = None, reason: str | None = "stop", **message: Any
) -> Body:
    """Return a well-formed answer, by default the prompt in capitals."""
    content = said(body).upper() if text is None else text
    whole = {"role": "assistant", "content": content, **message}
    usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": COMPLETION_TOKENS}
    choice = {"index": 0, "message": whole, "finish_reason": reason}
    return {"model": "m-1", "choices": [choice], "usage": usage}


class PaidServer(ThreadingHTTPServer):
    """Answers chat completions.

    Attributes:
        listing: The answer to GET /models, which is free; in the forms of `reply`.
        reply: Makes the answer to a request: a body, raw bytes, or (status, headers, bytes).
        received: How often each prompt was sent.
        billed: How often each was billed: whatever was answered, whether or not it arrived.
        headers: The headers of each request, their names in small letters.
        faults: Share of requests that go wrong, each of `KINDS` as often as another.
        hang: Seconds for which a lost answer lets its client wait.
        has_memory: Whether a repeated `Idempotency-Key` is answered as before, without a bill.
        useless: How many answers it billed that it made no sense of itself.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, faults: float = 0.0, seed: int = 0, hang: float = 1.5, has_memory: bool = False
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply: Callable[[Body], Any] = chat_answer
        self.listing: Any = {"object": "list", "data": [{"id": "m"}, {"id": "m-large"}]}
        self.faults, self.hang, self.has_memory = faults, hang, has_memory
        self.received: Counter[str] = Counter()
        self.billed: Counter[str] = Counter()
        self.bodies: list[Body] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.pause = 0.0
        self.lock = threading.Lock()
        self._random = random.Random(seed)
        self.useless = 0
        self._kept: dict[str, bytes] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def take(self, body: Body, headers: dict[str, str], path: str) -> tuple[str, bytes]:
        """Note a request and return how it will go wrong, empty for not at all, and the garbage."""
        with self.lock:
            self.bodies.append(body)
            self.headers.append(headers)
            self.paths.append(path)
            self.received[said(body)] += 1
            fault, garbage = "", b""
            if self._random.random() < self.faults:
                fault = self._random.choice(KINDS)
            if fault in ("429", "500"):
                return fault, garbage
            if fault == "garbage":
                garbage = self._random.choice(BROKEN + USELESS)
            made, name = garbage in USELESS, headers.get("idempotency-key", "")
            if not (self.has_memory and name in self._kept):
                self._kept[name] = garbage if made else b""
                self.billed[said(body)] += 1
                self.useless += made
            elif made or (self._kept[name] and not fault):
                garbage = self._kept[name]
                fault = "garbage" if garbage else ""
            return fault, garbage

    def __enter__(self) -> PaidServer:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: PaidServer

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fault, garbage = self.server.take(
            body, {name.lower(): value for name, value in self.headers.items()}, self.path
        )
        time.sleep(self.server.pause)
        if fault == "429":
            self._send(429, b"slow down", {"Retry-After": "0.01"})
        elif fault == "500":
            self._send(500, b"oops")
        elif fault == "timeout":
            time.sleep(self.server.hang)
        elif fault == "garbage":
            self._send(200, garbage)
        if fault in ("timeout", "reset"):
            # Closing with this option sends a reset, not an end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        elif not fault:
            self._reply(self.server.reply(body))

    def do_GET(self) -> None:
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        self._reply(self.server.listing)

    def _reply(self, answer: Any) -> None:
        if isinstance(answer, tuple):
            self._send(answer[0], answer[2], answer[1])
        else:
            is_raw = isinstance(answer, bytes)
            self._send(200, answer if is_raw else json.dumps(answer).encode())

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
