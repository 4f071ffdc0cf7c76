"""A real Label Studio for tests: started empty, spoken to over its HTTP interface."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tasks.processes.ports import free_port

TOKEN = "0123456789abcdef0123456789abcdef01234567"
USER, PASSWORD = "anna@people.test", "a-password-for-tests"


@dataclass
class LabelStudio:
    """A running one."""

    url: str
    """Where it is."""

    def call(self, method: str, path: str, **more: Any) -> Any:
        """Ask it something as its first user."""
        headers = {"Authorization": f"Token {TOKEN}"}
        answer = httpx.request(method, self.url + path, headers=headers, timeout=60, **more)
        answer.raise_for_status()
        return answer.json()

    def tasks(self, title: str) -> tuple[int, list[dict[str, Any]]]:
        """Return a project's number and its tasks."""
        found = self.call("GET", "/api/projects/", params={"title": title})["results"]
        project = found[0]["id"]
        wanted = {"exportType": "JSON", "download_all_tasks": "true"}
        return project, self.call("GET", f"/api/projects/{project}/export", params=wanted)

    def annotate(self, task: int, column: str, kind: str, value: dict[str, Any]) -> int:
        """Answer a task; return the annotation's number."""
        part = {"from_name": column, "to_name": "prompt", "type": kind, "value": value}
        done = self.call("POST", f"/api/tasks/{task}/annotations/", json={"result": [part]})
        return int(done["id"])


@contextmanager
def label_studio(program: Path, folder: Path) -> Iterator[LabelStudio]:
    """Run one with its data in a folder during the block; its first start takes a minute or two."""
    port = free_port()
    own = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
        "LABEL_STUDIO_USERNAME": USER,
        "LABEL_STUDIO_PASSWORD": PASSWORD,
        "LABEL_STUDIO_USER_TOKEN": TOKEN,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
    }
    words = ("start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port))
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "log.txt", "wb") as log:
        process = subprocess.Popen(
            [program, *words],
            env={**os.environ, **own},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    served = LabelStudio(f"http://127.0.0.1:{port}")
    try:
        until = time.monotonic() + 500
        while not _answers(served):
            assert process.poll() is None, (folder / "log.txt").read_text(errors="replace")[-3000:]
            assert time.monotonic() < until, "Label Studio does not answer"
            time.sleep(1)
        yield served
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(served: LabelStudio) -> bool:
    try:
        return bool(served.call("GET", "/api/version"))
    except httpx.HTTPError:
        return False
