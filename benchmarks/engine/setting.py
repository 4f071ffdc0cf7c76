"""What every row is measured on: one small policy, one reward model, groups of real pairs.

Both sides of a row load the same folder, so weights, tokens and order are the same.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from string import ascii_lowercase
from typing import TYPE_CHECKING, Literal

from tasks.data.files import read_groups
from tasks.data.groups import Group, Message
from tasks.data.sources.config import SourceConfig
from tasks.data.sources.reader import read_source
from tasks.models.architecture import ArchitectureConfig
from tasks.models.tokens.conversations import render_prompt
from tasks.models.tokens.encoding import EncodedGroup, Limits, encode_group
from tasks.settings.base import FrozenConfig
from tasks.settings.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

TEMPLATE = "hh"
PROMPTS = "prompts.json"
"""The ids of the prompts that are sampled, in a setting's folder."""
ROOT = Path(__file__).resolve().parents[2]


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
    pretrained: str = ""
    """Folder of a model to take instead, with its tokenizer and chat template, in this checkout."""

    @property
    def template(self) -> str | None:
        """The chat template; None is the pretrained model's own."""
        return None if self.pretrained else TEMPLATE


REAL = Setting(pretrained="models/smollm2-135m-instruct", pairs=256)
"""The rows at real size: 135M parameters, 49,152 tokens in the vocabulary."""


def encoded(folder: Path, setting: Setting, size: int, count: int) -> list[EncodedGroup]:
    """Return the token ids of the first groups of `size` responses; fewer where there are fewer."""
    from tasks.models.tokens.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(folder / "policy")
    return [
        encode_group(tokenizer, setting.template, group, setting.limits)
        for group in texts(folder, size, count)
    ]


def texts(folder: Path, size: int, count: int) -> list[Group]:
    """Return the first groups of `size` responses, scored; fewer where there are fewer."""
    return [group for _, group in zip(range(count), read_groups(folder / f"k{size}"), strict=False)]


def conversations(
    tokenizer: PreTrainedTokenizerBase, setting: Setting, groups: Iterable[Group]
) -> tuple[str | None, list[Sequence[Message]]]:
    """Return the prompts that are sampled, and their template: one without stop strings."""
    if setting.pretrained:
        return None, [group.prompt for group in groups]
    # Written out already.
    written = [render_prompt(tokenizer, setting.template, group.prompt) for group in groups]
    return "plain", [[Message("user", text)] for text in written]


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


def rectangle(rows: Sequence[list[int]], device: str) -> tuple[Tensor, Tensor]:
    """Return rows padded to the longest, and a mask that is 0 where nothing stands."""
    import torch

    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)
    return ids, mask
