"""A judge for tests of flows: it likes length, and the first of two equals."""

from __future__ import annotations

import shutil
from pathlib import Path

from tasks.stages.manifest import Manifest, list_manifests
from tests.flows.command import Shell, sets
from tests.servers.paid_server import Body, PaidServer, chat_answer, said

PROMPTS = 6
"""Prompts that it is asked about."""


def longer_wins(body: Body) -> Body:
    """Judge as a server would."""
    first, second = said(body).split("Response A:")[1].split("FIRST")[0].split("Response B:")
    better = "A" if len(first) >= len(second) else "B"
    return chat_answer(body, f"Comparison: one is longer.\nBetter: {better}")


def judge_keys(url: str) -> list[str]:
    """Return the words that give a run a judge."""
    endpoint = f"{{url: {url}, model: judge-1, price: {{prompt: 0, completion: 0}}}}"
    return sets(f"judge={{endpoint: {endpoint}, prompts: {PROMPTS}}}")


def judged_copy(shell: Shell, folder: Path, *words: str) -> tuple[Shell, dict[str, Manifest]]:
    """Do a finished run again with a judge, in a copy; return that and its matches by name."""
    shutil.copytree(shell.folder, folder, symlinks=True)
    copy = Shell(folder, variables=shell.variables)
    with PaidServer() as server:
        server.reply = longer_wins
        copy("run", *words, *judge_keys(server.url))
    return copy, {one.label: one for one in list_manifests(copy.home, "judge_responses")}
