"""What stands before swift's s3api: faults on demand, and two gaps of swift 2.30 closed.

Loaded by swift's own Python, not by ours. The file `switches.json` in the folder given by the
configuration is read for every request: `fault_percent` of the requests fail, half of them after
they were carried out; `delay` seconds pass before each. PUT honours `If-None-Match: *`, as AWS
does: swift can, but its s3api refuses to pass that on.
"""

import json
import os
import random

import eventlet.semaphore
from swift.common.middleware.s3api.s3request import S3Request

ERRORS = (
    ("503 Slow Down", "SlowDown"),
    ("503 Service Unavailable", "ServiceUnavailable"),
    ("500 Internal Server Error", "InternalError"),
)


class Filter:
    """The WSGI filter."""

    def __init__(self, app, folder):
        self.app = app
        self.switches = os.path.join(folder, "switches.json")
        self.log = os.path.join(folder, "requests.log")
        self.locks = {}

    def __call__(self, environ, start_response):
        with open(self.switches) as data:
            switches = json.load(data)
        with open(self.log, "a") as log:
            query = environ.get("QUERY_STRING", "")
            log.write(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{query}\n")
        if switches.get("delay"):
            eventlet.sleep(switches["delay"])
        chosen = random.random() * 100 < switches.get("fault_percent", 0)
        if chosen and random.random() < 0.5:
            return self.fail(environ, start_response)
        if environ["REQUEST_METHOD"] != "HEAD":
            return self.answer(environ, start_response, chosen)
        # Swift sends a body, or the end of one, with the answer to HEAD when it is an error. That
        # confuses aiohttp, which DVC's S3 client is made of.
        list(self.answer(environ, without_body(start_response), chosen))
        return []

    def answer(self, environ, start_response, lose):
        if not lose and "HTTP_IF_NONE_MATCH" not in environ:
            return self.app(environ, start_response)
        # Swift's object server looks first and writes later; two at once must not both look.
        lock = self.locks.setdefault(environ["PATH_INFO"], eventlet.semaphore.Semaphore())
        kept = []

        def keep(status, headers, exc_info=None):
            kept[:] = [status, headers]

        with lock:
            body = list(self.app(environ, keep))
        if lose:
            return self.fail(environ, start_response)
        start_response(*kept)
        return body

    def fail(self, environ, start_response):
        status, code = random.choice(ERRORS)
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode()
        if random.random() < 0.25:
            # No answer at all: the connection ends.
            environ["eventlet.input"].get_socket().shutdown(2)
            return []
        body = body if environ["REQUEST_METHOD"] != "HEAD" else b""
        headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
        start_response(status, headers)
        return [body]


def without_body(start_response):
    """Return a `start_response` that says that nothing follows an error."""

    def start(status, headers, exc_info=None):
        if status[0] in "45":
            named = ("content-length", "transfer-encoding")
            headers = [pair for pair in headers if pair[0].lower() not in named]
            headers.append(("Content-Length", "0"))
        return start_response(status, headers)

    return start


def factory(global_conf, **conf):
    """Return what paste calls with the application behind."""
    refuse = S3Request._validate_headers

    def validate(self):
        hidden = self.environ.pop("HTTP_IF_NONE_MATCH", None)
        try:
            refuse(self)
        finally:
            if hidden is not None:
                self.environ["HTTP_IF_NONE_MATCH"] = hidden

    S3Request._validate_headers = validate
    return lambda app: Filter(app, conf["folder"])
