"""Asks `tests.flows.warm_start` for a command; as a program, it stands for `sparring` itself."""

from __future__ import annotations

import json
import os
import socket
import sys


def ask(
    path: str, words: list[str], folder: str, environment: dict[str, str], *streams: int
) -> int:
    """Have `sparring` run with these words, and return its exit code, negative for a signal.

    Args:
        path: The socket of the process it is forked from.
        words: After `sparring`.
        folder: Its current folder.
        environment: Its environment, whole.
        streams: Descriptors of its stdin, stdout and stderr.
    """
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(path)
        socket.send_fds(link, [b"."], streams)
        asked = {"words": words, "folder": folder, "environment": environment}
        link.sendall(json.dumps(asked).encode() + b"\n")
        return int(link.makefile().readline())


if __name__ == "__main__":
    code = ask(sys.argv[1], sys.argv[2:], os.getcwd(), dict(os.environ), 0, 1, 2)
    sys.exit(code if code >= 0 else 128 - code)
