"""A world of the playground: its facts, what its prompts mean and what answers are worth.

A world is small and frozen. It is saved beside the data as world.json, so that a trained
policy can be judged by the true reward long after the data were generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tasks.data.groups import Message, normalise
from tasks.data.playground import oracle, prompts
from tasks.data.playground.language import ATTRIBUTES, NAMES
from tasks.data.playground.prompts import Request
from tasks.data.playground.randomness import Draws
from tasks.data.playground.speech import best_wordings
from tasks.settings.errors import ConfigError
from tasks.storage.errors import StorageError
from tasks.storage.files import read_json

Prompt = str | Sequence[Message] | Sequence[tuple[str, str]]
"""A first user turn as text, or all turns of a dialogue."""


@dataclass(frozen=True)
class World:
    """The creatures of one playground and what is true about them."""

    facts: dict[str, dict[str, str]]
    """Creature -> attribute -> value."""
    myths: dict[str, dict[str, str]]
    """Creature -> attribute -> the false value that most people who err believe in."""

    @property
    def entities(self) -> tuple[str, ...]:
        """The creatures, in the order of the facts."""
        return tuple(self.facts)

    def understand(self, prompt: Prompt) -> Request:
        """What `prompt` asks for.

        Raises:
            ValueError: It is no prompt of this world.
        """
        turns = [prompt] if isinstance(prompt, str) else _user_turns(prompt)
        request = self._first_turns.get(normalise(turns[0])) if turns else None
        if request is not None and len(turns) > 1:
            attribute = self._follow_ups.get(normalise(turns[-1]))
            if request.intent != "fact" or attribute is None:
                request = None
            else:
                request = request._replace(detail=attribute)
        if request is None:
            raise ValueError(f"not a prompt of this playground: {prompt!r}")
        return request

    def oracle_reward(self, prompt: Prompt, response: str) -> float:
        """The true reward of any text, in points from 0 to `best_reward(prompt)`.

        Raises:
            ValueError: `prompt` is no prompt of this world.
        """
        return oracle.score(self.facts, self._pairs, self.understand(prompt), response)

    def faults(self, prompt: Prompt, response: str) -> list[oracle.Fault]:
        """What in a text the oracle takes points for, and where.

        Raises:
            ValueError: `prompt` is no prompt of this world.
        """
        kinds = oracle.faults(self.facts, self._pairs, self.understand(prompt), response)
        return [fault for kind in kinds.values() for fault in kind]

    def best_reward(self, prompt: Prompt) -> float:
        """The exact maximum of `oracle_reward` over all texts, in points."""
        return oracle.BEST_CREDIT[self.understand(prompt).intent]

    def best_response(self, prompt: Prompt, variant: int = 0) -> str:
        """An answer worth `best_reward(prompt)`; `variant` chooses between equally good words."""
        wordings = best_wordings(self.facts, self.understand(prompt))
        return wordings[variant % len(wordings)]

    def to_json(self) -> dict[str, Any]:
        """The world as plain JSON."""
        return {"facts": self.facts, "myths": self.myths}

    @cached_property
    def _first_turns(self) -> dict[str, Request]:
        return {
            **dict(prompts.fact_prompts(self.entities)),
            **dict(prompts.chore_prompts()),
            **dict(prompts.news_prompts()),
            **dict(prompts.harm_prompts(self.entities)),
        }

    @cached_property
    def _follow_ups(self) -> dict[str, str]:
        return dict(prompts.follow_ups())

    @cached_property
    def _pairs(self) -> frozenset[tuple[str, str]]:
        return oracle.sayable_pairs(self.entities)


def build_world(seed: int, entities: int) -> World:
    """A world of `entities` creatures whose facts and myths are drawn from `seed`."""
    draws = Draws(f"playground world {seed}")
    names = draws.shuffled(NAMES)[:entities]
    facts: dict[str, dict[str, str]] = {name: {} for name in names}
    myths: dict[str, dict[str, str]] = {name: {} for name in names}
    for attribute, words in ATTRIBUTES.items():
        values: list[str] = []
        while len(values) < entities:
            values.extend(draws.shuffled(words.values))
        for name, value in zip(names, values, strict=False):
            facts[name][attribute] = value
            myths[name][attribute] = draws.pick([word for word in words.values if word != value])
    return World(facts, myths)


def load_world(path: Path) -> World:
    """The world saved in `path`, a world.json or the folder that holds one.

    Raises:
        ConfigError: There is none, or the file is not a world.
    """
    file = path / "world.json" if path.is_dir() else path
    if not file.is_file():
        raise ConfigError(
            f"no playground world at {file}; generate one with `python -m tasks.data.playground`"
        )
    try:
        record = read_json(file)["world"]
        return World(record["facts"], record["myths"])
    except (StorageError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{file} is not a playground world ({error}); remove its folder and generate it again"
        ) from error


def _user_turns(prompt: Sequence[Message] | Sequence[tuple[str, str]]) -> list[str]:
    return [content for role, content in prompt if role == "user"]
