"""Links from a page of ours to MLflow's pages.

A page names things as `href="sparring:stage/KEY"` and `href="sparring:run/RUN"`. MLflow shows HTML
in a frame that may run scripts and nothing else, under a `blob:` address: a plain click leads
nowhere there, a click that opens a tab does. Nothing here needs MLflow to be imported.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from tasks.storage.errors import CorruptError
from tasks.storage.sealed import read_sealed

Address = Callable[[str, str], str | None]
"""Given "stage" or "run" and its name, returns the part of MLflow's address from the # on."""

_MODE = "?workflowType=machine_learning"
"""Without it MLflow shows a page as one of a chat application."""

_LINK = re.compile(r'\bhref="sparring:(stage|run)/([^"]+)"')
_HINT = "Here in MLflow, Ctrl-click (⌘-click on a Mac) or middle-click opens a link in a new tab."
SCRIPT = """<script>
(() => {
  if (location.protocol !== "blob:") return;
  const site = new URL(location.href.slice(5)).origin;
  for (const link of document.querySelectorAll("a[href*='#/experiments/']")) {
    const given = new URL(link.getAttribute("href"), site + "/");
    link.setAttribute("href", site + given.pathname + given.hash);
    link.addEventListener("click", event => {
      if (!event.ctrlKey && !event.metaKey && !event.shiftKey) event.preventDefault();
    });
  }
  const hint = document.getElementById("sparring-hint");
  if (hint) hint.textContent = "HINT";
})();
</script>
""".replace("HINT", _HINT)
"""What is put behind a page's content; a page with a policy of its own allows it by its hash."""


def link_page(html: str, address: Address, site: str = "") -> str:
    """Turn a page's names of stages and runs into links to MLflow.

    Args:
        html: The page.
        address: Finds the page of a thing; None for what MLflow does not know, which is then no
            link.
        site: MLflow's address as far as the #, where it is known.
    """
    find = lru_cache(maxsize=None)(address)

    def lead(match: re.Match[str]) -> str:
        kind, name = match.groups()
        found = find(kind, name)
        if found is None:
            return f'data-unknown="{kind}/{name}"'
        return f'href="{site + "/" if site else ""}{found}"'

    linked = _LINK.sub(lead, html)
    head, end, tail = linked.rpartition("</body>")
    return f"{head}{SCRIPT}{end}{tail}" if end else linked + SCRIPT


def logged_pages(spool_root: Path, place: str = "") -> dict[tuple[str, str], str]:
    """Return the pages of all that this home logged to MLflow, by "stage" or "run" and its name.

    With a place, only what was logged to that MLflow counts.
    """
    found: dict[tuple[str, str], str] = {}
    for path in sorted(Path(spool_root).glob("*/cursor.json")):
        known, experiment, runs = _read(path, path.stat().st_mtime_ns)
        if not experiment or (place and known and known != place):
            continue
        for stage, run in runs:
            name = stage or path.parent.name.partition("@")[0]
            found["stage" if stage else "run", name] = run_address(experiment, run)
    return found


def run_address(experiment: str, run: str) -> str:
    """Return where a run's page is, by MLflow's ids."""
    return f"#/experiments/{experiment}/runs/{run}{_MODE}"


def model_address(experiment: str, model: str) -> str:
    """Return where a logged model's page is, by MLflow's ids."""
    return f"#/experiments/{experiment}/models/{model}{_MODE}"


@lru_cache(maxsize=512)
def _read(path: Path, changed: int) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    """Return an MLflow, an experiment and runs from a cursor; `changed` makes a new one another."""
    try:
        cursor = read_sealed(path)
    except (OSError, CorruptError):
        return "", "", ()
    runs = tuple(cursor.get("runs", {}).items())
    return cursor.get("place", ""), cursor.get("experiment", ""), runs
