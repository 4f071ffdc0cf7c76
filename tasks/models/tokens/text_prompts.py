"""Prompts out of plain texts: the first tokens of each, as the policy's own tokenizer counts."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from tasks.data.files import GroupFolder, GroupWriter
from tasks.data.groups import Group, Message, prompt_hash
from tasks.settings.base import FrozenConfig, Seed
from tasks.settings.errors import ConfigError
from tasks.settings.log import Log

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class BeginningsConfig(FrozenConfig):
    """Which beginnings of texts become prompts, and how they are divided."""

    tokens: int = Field(default=10, ge=1)
    """Tokens per prompt, BOS not counted. Default: EXO's IMDB task (arXiv 2402.00856)."""

    train_prompts: int | None = Field(default=2000, ge=1)
    """Prompts that the policy is trained on; null takes all that dev and test leave."""

    dev_prompts: int = Field(default=256, ge=0)
    """Prompts that settings are chosen by."""

    test_prompts: int = Field(default=512, ge=1)
    """Prompts that the report measures on. Default: the paper's."""

    seed: Seed = 0
    """Another seed is another choice and division of the texts."""


def cut_beginnings(
    policy: Path,
    texts: Path,
    config: BeginningsConfig,
    output: Path,
    log: Log,
    test_texts: Path | None = None,
) -> dict[str, float]:
    """Write `train`, `dev` and `test`; no two prompts are the same, in one part or in two.

    Texts are taken in the order of a hash, so neither the order of the file (IMDB's has all
    negative reviews first) nor the size of the training part decides what is in dev and test.

    Args:
        policy: Model folder whose tokenizer counts.
        texts: Folder of groups whose one response is a text.
        config: Tokens per prompt, prompts per part.
        output: Receives the three folders of K = 1 groups.
        log: Where notes go.
        test_texts: Folder of the texts that the test prompts are cut off; None takes `texts`.

    Returns:
        Prompts per part; under `dropped/…`: `short` (no token is left to continue with),
        `repeated` (another text begins alike), `torn` (the cut falls inside a character).

    Raises:
        ConfigError: There are too few texts, or the tokenizer cannot be loaded.
    """
    from tasks.models.tokens.tokenizer import load_tokenizer

    wanted = {
        "test": config.test_prompts,
        "dev": config.dev_prompts,
        "train": config.train_prompts,
    }
    dropped = Counter({"short": 0, "repeated": 0, "torn": 0})
    tokenizer, seen = load_tokenizer(policy), set[str]()
    rest = _beginnings(tokenizer, GroupFolder(texts), config, dropped, seen)
    tests = rest
    if test_texts is not None:
        tests = _beginnings(tokenizer, GroupFolder(test_texts), config, dropped, seen)
    counts = {}
    with ExitStack() as stack:
        writers = {part: stack.enter_context(GroupWriter(output / part)) for part in wanted}
        for part, number in wanted.items():
            for group in islice(tests if part == "test" else rest, number):
                writers[part].write(group)
            counts[part] = writers[part].count
            least = 1 if number is None else number
            if counts[part] < least:
                raise ConfigError(
                    f"the texts give only {counts[part]} {part} prompts of {config.tokens} tokens "
                    f"({_sentence(dropped)}), {least} are asked for: lower train_prompts, "
                    "dev_prompts, test_prompts or tokens, or give more texts"
                )
    log.note(f"{sum(counts.values())} prompts of {config.tokens} tokens; {_sentence(dropped)}")
    left_out = {f"dropped/{reason}": float(count) for reason, count in dropped.items()}
    return {part: float(count) for part, count in counts.items()} | left_out


def _beginnings(
    tokenizer: PreTrainedTokenizerBase,
    texts: GroupFolder,
    config: BeginningsConfig,
    dropped: Counter[str],
    seen: set[str],
) -> Iterator[Group]:
    """Yield each beginning that was not seen, with how its writer went on, by a hash."""
    for number in _shuffled(texts, config.seed):
        source = texts[number]
        if len(source.responses) != 1:
            raise ConfigError(
                f"{texts.path} holds {len(source.responses)} responses in the group {source.title}"
                "; prompts are cut off texts, one per group, as prepare_texts writes them"
            )
        text = source.responses[0]
        ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        if len(ids) <= config.tokens:
            dropped["short"] += 1
            continue
        beginning = tokenizer.decode(ids[: config.tokens], clean_up_tokenization_spaces=False)
        prompt = (Message("user", beginning),)
        if not text.startswith(beginning):
            dropped["torn"] += 1
        elif (identity := prompt_hash(prompt)) in seen:
            dropped["repeated"] += 1
        else:
            seen.add(identity)
            # Noted as ended: a limit then cuts its end off, counted, and is no error.
            extra = source.extra | {"ended": [True]}
            yield Group(prompt, (text[len(beginning) :],), sources=("human",), extra=extra)


def _shuffled(texts: GroupFolder, seed: int) -> list[int]:
    """Return the numbers of the groups in the order of a hash of their ids."""

    def place(item: tuple[int, Group]) -> bytes:
        return hashlib.sha256(f"{seed}/{item[1].id}".encode()).digest()

    keyed = sorted((place(item), item[0]) for item in enumerate(texts))
    return [number for _, number in keyed]


def _sentence(dropped: Counter[str]) -> str:
    return (
        f"left out: {dropped['short']} texts too short, {dropped['repeated']} that begin like "
        f"another, {dropped['torn']} cut inside a character"
    )
