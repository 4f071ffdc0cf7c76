"""Writes a playground: pairs, demonstrations, golden answers and the world they come from.

A pure function of the settings: the same settings give the same bytes in every process. Test
prompts have a first turn that no other file contains, while the facts behind them are shared.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tasks.data.groups import Message
from tasks.data.playground import prompts
from tasks.data.playground.config import PlaygroundConfig
from tasks.data.playground.randomness import Draws
from tasks.data.playground.speech import human_answer
from tasks.data.playground.world import World, build_world
from tasks.settings.errors import ConfigError
from tasks.storage.errors import CorruptError
from tasks.storage.files import (
    publish_directory,
    read_json,
    remove_tree,
    write_json,
    write_lines,
)
from tasks.storage.trees import sweep_leftovers

FORMAT = 1
"""Raised when the same settings begin to give other content."""

SHARES = {"fact": 0.44, "dialogue": 0.08, "chore": 0.16, "news": 0.14, "harm": 0.18}
"""How often each kind of prompt occurs; a dialogue asks for two facts in a row."""

FILES = (
    "preferences.jsonl",
    "test.jsonl",
    "demonstrations.jsonl",
    "golden.jsonl",
    "extra.jsonl",
    "world.json",
)

Turns = tuple[Message, ...]


class Pair(NamedTuple):
    """A prompt with two answers, the chosen one first."""

    prompt: Turns
    chosen: str
    rejected: str


def generate(config: PlaygroundConfig, folder: Path) -> dict[str, float]:
    """Write the playground of `config` into `folder`, which must not exist.

    Returns:
        Statistics of what was written, the same that world.json keeps under "statistics".

    Raises:
        StorageError: `folder` exists or the disk refuses.
    """
    world = build_world(config.seed, config.entities)
    asked = _Prompts(world, config)
    temperature, other = config.temperature, config.extra_temperature
    train = _pairs(world, asked.preferences, temperature, Draws(f"pairs {config.seed}"))
    test = _pairs(world, asked.test, temperature, Draws(f"test {config.seed}"))
    extra = _pairs(world, asked.extra, other, Draws(f"extra {config.seed}"))
    draws = Draws(f"demonstrations {config.seed}")
    shown = [(prompt, _answer(world, prompt, draws)) for prompt in asked.demonstrations]
    draws = Draws(f"golden {config.seed}")
    distinct = list(dict.fromkeys(pair.prompt for pair in train))
    golden = [(prompt, world.best_response(prompt, draws.below(1 << 20))) for prompt in distinct]
    statistics = _statistics(world, train, test, shown, temperature)

    # A fixed name, so that what a killed generation leaves is gone after the next one.
    partial = folder.with_name(f".{folder.name}-partial")
    sweep_leftovers(folder.parent)
    remove_tree(partial)
    write_lines(partial / "preferences.jsonl", map(_pair_line, train))
    write_lines(partial / "test.jsonl", map(_pair_line, test))
    write_lines(partial / "extra.jsonl", map(_pair_line, extra))
    write_lines(partial / "demonstrations.jsonl", map(_answer_line, shown))
    write_lines(partial / "golden.jsonl", map(_answer_line, golden))
    record = {"format": FORMAT, "settings": config.settings(), "world": world.to_json()}
    write_json(partial / "world.json", record | {"statistics": statistics})
    publish_directory(partial, folder)
    return statistics


def ensure_playground(config: PlaygroundConfig) -> Path:
    """The folder of the playground of `config`, generated when it is missing.

    Raises:
        ConfigError: The folder holds something else, is incomplete or has other settings.
    """
    folder = config.folder
    if not folder.exists():
        generate(config, folder)
        return folder
    if not (folder / "world.json").is_file():
        raise ConfigError(
            f"{folder} is no playground: name another `folder`, one that is not there"
        )
    advice = f"remove {folder} to generate it again, or name another `folder`"
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise ConfigError(f"{folder} is no whole playground: {missing[0]} is missing; {advice}")
    try:
        record = read_json(folder / "world.json")
        found = {"format": record["format"], **record["settings"]}
    except (CorruptError, KeyError, TypeError) as error:
        raise ConfigError(f"{folder} is no whole playground ({error}); {advice}") from error
    wanted = {"format": FORMAT} | config.settings()
    for name in wanted | found:
        if found.get(name) != wanted.get(name):
            raise ConfigError(
                f"the playground in {folder} was made with {name} = {found.get(name)}, "
                f"this configuration has {wanted.get(name)}; {advice}"
            )
    return folder


class _Prompts:
    """The prompts of every file; test shares no first turn with the others."""

    def __init__(self, world: World, config: PlaygroundConfig) -> None:
        draws = Draws(f"prompts {config.seed}")
        facts = draws.shuffled([text for text, _ in prompts.fact_prompts(world.entities)])
        middle = len(facts) * 3 // 4
        pools = {
            "fact": facts[:middle],
            "dialogue": facts[middle:],
            "chore": draws.shuffled([text for text, _ in prompts.chore_prompts()]),
            "news": draws.shuffled([text for text, _ in prompts.news_prompts()]),
            "harm": draws.shuffled([text for text, _ in prompts.harm_prompts(world.entities)]),
        }
        files: dict[str, list[Turns]] = {
            name: [] for name in ("test", "preferences", "extra", "demonstrations")
        }
        for kind, pool in pools.items():
            cut = min(_share(kind, config.test), len(pool) // 2)
            held_out, rest = pool[:cut], pool[cut:]
            start = 0
            for name, size in (("preferences", config.preferences), ("extra", config.extra)):
                count = _share(kind, size)
                texts = [rest[(start + index) % len(rest)] for index in range(count)]
                files[name] += _with_turns(world, kind, texts, draws)
                start += count
            texts = [held_out[index % cut] for index in range(_share(kind, config.test))]
            files["test"] += _with_turns(world, kind, texts, draws)
            texts = [draws.pick(rest) for _ in range(_share(kind, config.demonstrations))]
            files["demonstrations"] += _with_turns(world, kind, texts, draws)
        self.test = draws.shuffled(files["test"])[: config.test]
        self.preferences = draws.shuffled(files["preferences"])[: config.preferences]
        self.extra = draws.shuffled(files["extra"])[: config.extra]
        self.demonstrations = draws.shuffled(files["demonstrations"])[: config.demonstrations]


def _share(kind: str, size: int) -> int:
    return math.ceil(SHARES[kind] * size)


def _with_turns(world: World, kind: str, texts: list[str], draws: Draws) -> Iterator[Turns]:
    """The first turns as prompts; in a dialogue a human's answer and a second question follow."""
    questions = list(prompts.follow_ups())
    for text in texts:
        first = Message("user", text)
        if kind != "dialogue":
            yield (first,)
            continue
        request = world.understand(text)
        others = [question for question, asked in questions if asked != request.detail]
        reply = Message("assistant", human_answer(world, request, draws))
        yield (first, reply, Message("user", draws.pick(others)))


def _answer(world: World, prompt: Turns, draws: Draws) -> str:
    return human_answer(world, world.understand(prompt), draws)


def _pairs(world: World, prompts: list[Turns], temperature: float, draws: Draws) -> list[Pair]:
    """Two different human answers per prompt, ordered by a Bradley-Terry choice."""
    pairs = []
    for prompt in prompts:
        first = second = _answer(world, prompt, draws)
        while second == first:
            second = _answer(world, prompt, draws)
        if not draws.chance(_preference(world, prompt, first, second, temperature)):
            first, second = second, first
        pairs.append(Pair(prompt, first, second))
    return pairs


def _preference(world: World, prompt: Turns, one: str, two: str, temperature: float) -> float:
    """The chance that an annotator prefers `one` to `two`."""
    gap = world.oracle_reward(prompt, one) - world.oracle_reward(prompt, two)
    return 1.0 / (1.0 + math.exp(-gap / temperature))


def _statistics(
    world: World,
    train: list[Pair],
    test: list[Pair],
    shown: list[tuple[Turns, str]],
    temperature: float,
) -> dict[str, float]:
    """Means over what was written; rewards in points, the rest as shares."""
    ideal = [_preference(world, *pair, temperature) for pair in test]
    worse = [
        float(world.oracle_reward(prompt, chosen) < world.oracle_reward(prompt, rejected))
        for prompt, chosen, rejected in train
    ]
    statistics: dict[str, list[float]] = {
        "best_possible_accuracy": [max(chance, 1 - chance) for chance in ideal],
        "worse_answer_chosen": worse,
        "demonstration_reward": [world.oracle_reward(prompt, text) for prompt, text in shown],
        "best_reward": [world.best_reward(prompt) for prompt, _ in shown],
    }
    return {name: round(sum(values) / len(values), 4) for name, values in statistics.items()}


def _messages(turns: Turns) -> list[dict[str, Any]]:
    return [{"role": turn.role, "content": turn.content} for turn in turns]


def _pair_line(pair: Pair) -> str:
    return _line(**pair._asdict())


def _answer_line(answer: tuple[Turns, str]) -> str:
    return _line(prompt=answer[0], completion=answer[1])


def _line(prompt: Turns, **responses: str) -> str:
    spoken = {name: _messages((Message("assistant", text),)) for name, text in responses.items()}
    return json.dumps({"prompt": _messages(prompt), **spoken}, ensure_ascii=False)
