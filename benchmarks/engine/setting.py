"""What every row is measured on: one small policy, one reward model, groups of real pairs.

Both sides of a row load the same folder, so weights, tokens and order are the same.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any, Literal

from tasks.data.files import read_groups, write_groups
from tasks.data.groups import Group, Message
from tasks.data.sources.config import SourceConfig
from tasks.data.sources.reader import read_source
from tasks.models.architecture import ArchitectureConfig
from tasks.models.tokens.encoding import EncodedGroup, Limits, encode_group
from tasks.settings.base import FrozenConfig
from tasks.settings.errors import ConfigError
from tasks.storage.digests import sha256_json

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TEMPLATE = "hh"
_TEACHING_RATE = 1e-3
_TAUGHT = 16  # sequences of one length per teaching step
_DONE = "done"


class Setting(FrozenConfig):
    """The models and the data of a table."""

    model: ArchitectureConfig = ArchitectureConfig(
        hidden_size=384, layers=6, heads=6, feed_forward=1024, context=2048
    )
    """Shape of the policy and of the reward model's backbone; embeddings are tied."""
    vocabulary: int = 8000
    """Entries of the tokenizer, trained on the pairs."""
    source: Literal["hh", "words"] = "hh"
    """HH pairs from the folder SPARRING_DATA, or made-up words where there are no real data."""
    limits: Limits = Limits(max_prompt_tokens=384, max_response_tokens=128)
    """A pair with a longer prompt or response is left out."""
    pairs: int = 2400
    """Pairs kept, the first ones."""
    words: tuple[int, int] = (200, 80)
    """Words of the longest made-up prompt and response."""
    teaching_steps: int = 60
    """Steps of next-token training, so that sampled responses end at different lengths."""


def prepared(setting: Setting, root: Path, device: str) -> Path:
    """Return the folder of a setting under `root`, made on first use.

    In it: `policy`, `reference` (the policy earlier in its teaching), `reward`, and the groups
    `k2` (real pairs), `k4` and `k8` (each with responses to other prompts behind its own two).

    Raises:
        ConfigError: SPARRING_DATA does not name a folder with the pairs.
    """
    folder = root / sha256_json(setting.model_dump(mode="json"))[:12]
    if not (folder / _DONE).exists():
        shutil.rmtree(folder, ignore_errors=True)
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root) as draft:
            _prepare(setting, Path(draft), device)
            (Path(draft) / _DONE).touch()
            shutil.copytree(draft, folder)
    return folder


def encoded(folder: Path, limits: Limits, size: int, count: int) -> list[EncodedGroup]:
    """Return the token ids of the first groups of `size` responses; fewer where there are fewer."""
    from tasks.models.tokens.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(folder / "policy")
    return [
        encode_group(tokenizer, TEMPLATE, group, limits) for group in texts(folder, size, count)
    ]


def texts(folder: Path, size: int, count: int) -> list[Group]:
    """Return the first groups of `size` responses, scored; fewer where there are fewer."""
    return [group for _, group in zip(range(count), read_groups(folder / f"k{size}"), strict=False)]


def _prepare(setting: Setting, folder: Path, device: str) -> None:
    from tasks.models.architecture import build_policy
    from tasks.models.base_policy import corpus_texts
    from tasks.models.loading import save_model
    from tasks.models.reward_model import build_reward_model
    from tasks.models.tokens.tokenizer import train_tokenizer

    everything = list(pairs(setting))
    tokenizer = train_tokenizer(corpus_texts(everything), setting.vocabulary, folder / "policy")
    fitting = [group for group in everything if _fits(tokenizer, group, setting.limits)]
    kept = fitting[: setting.pairs]
    for size in (2, 4, 8):
        write_groups(folder / f"k{size}", _widened(kept, size))
    policy = build_policy(setting.model, tokenizer, seed=0)
    early = 3 * setting.teaching_steps // 4
    taught = encoded(folder, setting.limits, 2, 2 * _TAUGHT * setting.teaching_steps)
    # Short ones teach the end as well as long ones, sooner.
    sequences = sorted((g.prompt_ids + g.responses_ids[0] for g in taught), key=len)
    sequences = sequences[: len(sequences) // 2]
    for name, steps in (("reference", range(early)), ("policy", range(early, 4 * early // 3))):
        _teach(policy, sequences, steps, device)
        save_model(policy, tokenizer, folder / name, TEMPLATE)
    if not early:
        save_model(build_policy(setting.model, tokenizer, 1), tokenizer, folder / "reference")
    reward = build_reward_model(folder / "policy", tokenizer, dtype="float32")
    save_model(reward, tokenizer, folder / "reward", TEMPLATE)


def pairs(setting: Setting) -> Iterator[Group]:
    """Yield the pairs of a setting's source, all of them and of any length.

    Raises:
        ConfigError: SPARRING_DATA does not name a folder with the pairs.
    """
    if setting.source == "words":
        yield from _made_up(setting)
        return
    path = Path(os.environ.get("SPARRING_DATA", "")) / "hh" / "pairs.train.jsonl.gz"
    if not os.environ.get("SPARRING_DATA") or not path.is_file():
        raise ConfigError(
            f"the HH pairs are not at {str(path)!r}: set SPARRING_DATA to the folder that holds "
            "hh/pairs.train.jsonl.gz (any file with prompt, chosen and rejected), or use --words"
        )
    yield from read_source(SourceConfig(path=str(path)), on_bad=lambda bad: None)


def _made_up(setting: Setting) -> Iterator[Group]:
    draw = random.Random(0)
    words = range(2 * setting.vocabulary)
    known = ["".join(draw.choices(ascii_lowercase, k=draw.randint(2, 8))) for _ in words]

    def text(most: int) -> str:
        return " ".join(draw.choices(known, k=draw.randint(max(1, most // 4), most)))

    longest_prompt, longest = setting.words
    for number in range(setting.pairs):
        yield Group(
            prompt=(Message("user", text(longest_prompt)),),
            responses=(text(longest), text(longest)),
            scores=(1.0, 0.0),
            id=str(number),
        )


def _fits(tokenizer: PreTrainedTokenizerBase, group: Group, limits: Limits) -> bool:
    wide = Limits(max_prompt_tokens=1 << 30, max_response_tokens=1 << 30)
    ids = encode_group(tokenizer, TEMPLATE, group, wide)
    longest = max(map(len, ids.responses_ids))
    return len(ids.prompt_ids) <= limits.max_prompt_tokens and longest <= limits.max_response_tokens


def _widened(pairs: list[Group], size: int) -> Iterator[Group]:
    """Yield each pair with responses of the following pairs behind its own, and drawn scores."""
    draw = random.Random(size)
    for number, pair in enumerate(pairs):
        others = [pairs[(number + step) % len(pairs)] for step in range(1, size)]
        spare = [response for other in others for response in other.responses]
        scores = (1.0, 0.0) if size == 2 else tuple(draw.gauss(0, 1) for _ in range(size))
        responses = (*pair.responses, *spare)[:size]
        yield Group(prompt=pair.prompt, responses=responses, scores=scores, id=str(number))


def rectangle(rows: Sequence[list[int]], device: str) -> tuple[Tensor, Tensor]:
    """Return rows padded to the longest, and a mask that is 0 where nothing stands."""
    import torch

    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)
    return ids, mask


def _teach(model: PreTrainedModel, sequences: list[list[int]], steps: range, device: str) -> None:
    import torch

    from tasks.models.memory import kept_memory
    from tasks.models.precision import arithmetic_of

    model.to(device).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=_TEACHING_RATE)
    draw = random.Random(steps.start)
    with kept_memory():
        for _ in steps:
            start = draw.randrange(max(1, len(sequences) - _TAUGHT))
            ids, real = rectangle(sequences[start : start + _TAUGHT], device)
            labels: Any = ids.masked_fill(real == 0, -100)
            with arithmetic_of("auto"):
                loss = model(
                    input_ids=ids, attention_mask=real, labels=labels, use_cache=False
                ).loss
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
    model.eval().to("cpu")
