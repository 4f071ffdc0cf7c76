"""Gold responses of the playground: its world knows the best answer to any of its prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tasks.data.groups import Group, prompt_hash
from tasks.data.playground.world import load_world
from tasks.gold.provider import GoldAnswer
from tasks.storage.workspace import Workspace


class PlaygroundProvider:
    """Answers with responses that earn the best achievable oracle reward."""

    name = "playground"
    unit = "queries"

    def __init__(self, path: Path) -> None:
        """Open a world.

        Args:
            path: `world.json` or the playground's folder.

        Raises:
            ConfigError: There is no world there.
        """
        self._world = load_world(Path(path))

    def metrics(self) -> Mapping[str, float]:
        """Return nothing: it costs nothing."""
        return {}

    def answer(
        self, queries: Sequence[Group], workspace: Workspace
    ) -> Iterator[tuple[str, GoldAnswer]]:
        """Yield a best answer to each prompt of this world; others are left out.

        Among equally good wordings the prompt chooses, so the answers do not sound alike.
        """
        for query in queries:
            try:
                variant = int(prompt_hash(query.prompt)[:8], 16)
                text = self._world.best_response(query.prompt, variant)
            except ValueError:
                continue  # not a prompt of this world
            yield query.id, GoldAnswer(text, "gold")
