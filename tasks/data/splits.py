"""Who is trained on what: the split of the Protocol, and the proof that its parts do not leak.

A record's place follows from the hash of its first user turn alone, so it does not depend on the
order of the file, and a dialogue and its continuations always land together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from tasks.data.files import read_groups
from tasks.data.groups import Prompt, first_turn_hash, prompt_hash
from tasks.settings.base import FrozenConfig, Seed
from tasks.settings.errors import ConfigError
from tasks.settings.printable import excerpt

PROTOCOL_PAIRS = (
    ("rm_train", "dev"),
    ("rm_train", "test"),
    ("dev", "test"),
    ("policy_train", "test"),
    ("rm_train", "policy_train"),
    ("rm_queries", "policy_train"),
    ("rm_queries", "dev"),
    ("rm_queries", "test"),
    ("demonstrations", "test"),
    ("extra", "test"),
    ("policy_prompts", "test"),
    ("policy_prompts", "dev"),
    ("policy_prompts", "rm_queries"),
)
"""Parts that may share no prompt (demonstrations, extra: they train models measured on test)."""


RM_SHARE = 20 / 86
"""That of APO's paper, section 4.1: 20K of HH-RLHF's 86K pairs."""


class SplitConfig(FrozenConfig):
    """How the preferences are divided; shares are of first user turns, so counts vary a little."""

    rm_share: float | None = Field(default=None, ge=0, lt=1)
    """Share of the training preferences for the reward model alone; the rest is the policy's.
    Default: 20/86 in `apo`, as in its paper; 0 in `exo`, whose reward model and policies learn from
    all pairs; 0.5 in `ava`, whose arms learn from this share and whose judge learns from the
    rest, or 0 if no arm learns from pairs."""
    dev_share: float = Field(default=10 / 66, gt=0, lt=1)
    """Share of the policy's part that is the dev set."""
    test_share: float = Field(default=0.05, gt=0, lt=1)
    """Share cut off for the test set; only where no test source is given."""
    dev_from_policy: Literal["shared", "held_out"] | None = None
    """Whether dev's queries stay in policy_train or leave it. Default: shared in `apo`, as in its
    paper; held_out in `exo`, where settings are chosen by dev."""
    seed: Seed = 0
    """Another seed is another division."""


def place(prompt: Prompt, config: SplitConfig, *, cut_test: bool) -> tuple[str, ...]:
    """Return the parts that a record of the training preferences belongs to.

    With `cut_test` the test set is cut from the preferences too.

    Returns:
        One of ("test",), ("rm_train",), ("policy_train",), ("dev",), ("policy_train", "dev").
    """
    key = f"{config.seed}/{first_turn_hash(prompt)}".encode()
    digest = hashlib.sha256(key).digest()
    # Three independent draws in [0, 1), so that changing one share moves no record of another part.
    test, reward, dev = (int.from_bytes(digest[i : i + 8]) / 2**64 for i in (0, 8, 16))
    if cut_test and test < config.test_share:
        return ("test",)
    if reward < (RM_SHARE if config.rm_share is None else config.rm_share):
        return ("rm_train",)
    if dev >= config.dev_share:
        return ("policy_train",)
    return ("dev",) if config.dev_from_policy == "held_out" else ("policy_train", "dev")


def check_disjoint(
    folders: Mapping[str, Path], pairs: Iterable[tuple[str, str]] = PROTOCOL_PAIRS
) -> dict[str, int]:
    """Prove from the written files that parts share no prompt, by first turn and by whole prompt.

    Args:
        folders: Group folders (or files) by the name of their part.
        pairs: Which parts may not overlap; pairs with a part that is not given are left out.

    Returns:
        Distinct prompts per part.

    Raises:
        ConfigError: Two parts share prompts; every such pair is named with the number.
    """
    seen = {name: _hashes(folder) for name, folder in folders.items()}
    problems = []
    for one, other in pairs:
        if one in seen and other in seen:
            turns = seen[one][0] & seen[other][0]
            prompts = seen[one][1] & seen[other][1]
            if turns or prompts:
                example = _words_of(folders[one], min(turns or prompts))
                problems.append(
                    f"{one} and {other} share {len(turns)} first turns and {len(prompts)} whole "
                    f"prompts (for example {example})"
                )
    if problems:
        raise ConfigError(
            "the data leaks: " + "; ".join(problems) + ". Set `overlap: drop` to leave such rows "
            "out of the training side, or give other files"
        )
    return {name: len(prompts) for name, (_, prompts) in seen.items()}


def _words_of(folder: Path, digest: bytes) -> str:
    """Return a few words of the prompt with a hash, of its first turn or of all, and the hash."""
    for group in read_groups(folder):
        if digest.hex() in (first_turn_hash(group.prompt), prompt_hash(group.prompt)):
            return f"{excerpt(group.prompt[-1].content)}, hash {digest.hex()}"
    return f"hash {digest.hex()}"


def _hashes(folder: Path) -> tuple[set[bytes], set[bytes]]:
    turns: set[bytes] = set()
    prompts: set[bytes] = set()
    for group in read_groups(folder):
        turns.add(bytes.fromhex(first_turn_hash(group.prompt)))
        # The id may be the user's; the leak check trusts only the text.
        prompts.add(bytes.fromhex(prompt_hash(group.prompt)))
    return turns, prompts
