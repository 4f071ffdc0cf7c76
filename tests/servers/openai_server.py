"""A small server with OpenAI's completions interface, and with the faults of real ones.

In a test's own process: `with FakeServer() as server`. As a program that a stage starts:
`python openai_server.py --port N`, with the options at the end of this file.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

OPENAI_FIELDS = frozenset("model prompt max_tokens temperature top_p seed stop".split())
TRANSFORMERS_FIELDS = OPENAI_FIELDS | {"generation_config"}

Body = dict[str, Any]


def answer_of(body: Body, text: str = "fine", reason: str | None = "stop", **more: Any) -> Body:
    """Return a well-formed answer; `more` goes into the choice."""
    prompt = body["prompt"]
    usage = {"completion_tokens": min(3, body["max_tokens"])}
    if isinstance(prompt, list):
        usage["prompt_tokens"] = len(prompt)
    choice = {"index": 0, "text": text, "finish_reason": reason, **more}
    return {"object": "text_completion", "choices": [choice], "usage": usage}


class FakeServer(ThreadingHTTPServer):
    """Answers what `reply` returns, after the faults that are lined up.

    Attributes:
        reply: makes the answer to a request's body.
        faults: taken one by one as requests come: an HTTP status (with headers), "reset", "slow",
            or bytes that are sent with 200.
        fields: those it takes; None for any.
        token_prompts: whether it takes ids.
        missing: paths that answer 404.
        bodies: the requests it took, in the order in which they came.
        busiest: the most requests that it answered at once.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int = 0, host: str = "127.0.0.1") -> None:
        super().__init__((host, port), _Handler)
        self.reply: Callable[[Body], Any] = answer_of
        self.faults: deque[Any] = deque()
        self.fields: frozenset[str] | None = None
        self.token_prompts = True
        self.missing: set[str] = set()
        self.unhealthy_until = 0.0
        self.bodies: list[Body] = []
        self.busiest = self.busy = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def be_transformers(self) -> None:
        """Take what `transformers serve` takes."""
        self.token_prompts, self.fields = False, TRANSFORMERS_FIELDS

    def __enter__(self) -> FakeServer:
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
    server: FakeServer

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path in self.server.missing:
            self._send(404, b"{}")
        elif time.monotonic() < self.server.unhealthy_until:
            self._send(503, b'{"status": "loading"}')
        else:
            self._send(200, b"{}")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if refusal := self._refusal(body):
            self._send(*refusal)
            return
        with self.server.lock:
            self.server.bodies.append(body)
            fault = self.server.faults.popleft() if self.server.faults else None
            self.server.busy += 1
            self.server.busiest = max(self.server.busiest, self.server.busy)
        try:
            self._answer(body, fault)
        finally:
            with self.server.lock:
                self.server.busy -= 1

    def _refusal(self, body: Body) -> tuple[int, bytes] | None:
        extra = set(body) - (self.server.fields or set(body))
        if not self.server.token_prompts and isinstance(body["prompt"], list):
            return 400, b'{"detail": "prompt must be a string."}'
        return (422, f"Unexpected fields in the request: {extra}".encode()) if extra else None

    def _answer(self, body: Body, fault: Any) -> None:
        if fault == "reset":
            # Closing with this option sends a reset, not an end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        elif isinstance(fault, bytes):
            self._send(200, fault)
        elif isinstance(fault, tuple):
            self._send(fault[0], b"busy", **fault[1])
        else:
            if fault == "slow":
                time.sleep(1.0)
            self._send(200, json.dumps(self.server.reply(body)).encode())

    def _send(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--loading", type=float, default=0.0, help="seconds of 503 at first")
    parser.add_argument("--missing", nargs="*", default=[], help="paths that are not there")
    parser.add_argument("--dies", action="store_true", help="say why and exit with 3")
    parser.add_argument("--deaf", action="store_true", help="never listen")
    parser.add_argument("--stubborn", action="store_true", help="ignore SIGTERM")
    parser.add_argument("--family", action="store_true", help="have a child in its own session")
    options = parser.parse_args()
    print("this is the server's log", flush=True)
    if options.family:
        sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
        subprocess.Popen(sleeper, start_new_session=True)
    if options.stubborn:
        import signal

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if options.dies:
        print("the model is broken", flush=True)
        os._exit(3)
    if options.deaf:
        time.sleep(600)
    server = FakeServer(options.port, options.host)
    server.missing = set(options.missing)
    server.unhealthy_until = time.monotonic() + options.loading
    server.serve_forever(0.02)


if __name__ == "__main__":
    main()
