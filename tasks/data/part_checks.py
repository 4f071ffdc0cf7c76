"""Which parts prepared data have, and what must hold of them: none is empty, and none leaks."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.data.config import DataConfig
from tasks.data.files import GroupWriter
from tasks.data.groups import Prompt
from tasks.data.splits import PROTOCOL_PAIRS, place
from tasks.settings.errors import ConfigError

_MAY_BE_EMPTY = ("extra", "policy_prompts")


def require_parts(writers: Mapping[str, GroupWriter], config: DataConfig) -> None:
    """Refuse a division in which a part that the run needs stayed empty.

    Raises:
        ConfigError: Some parts did; they are named.
    """
    optional = set(_MAY_BE_EMPTY)
    if config.policy_prompts:
        optional.discard("policy_prompts")
    if config.split.rm_share == 0 and not config.rm_queries:
        optional |= {"rm_train", "rm_queries"}
    if not config.has_preferences:
        optional |= {"rm_train", "rm_queries", "policy_train"}
    empty = [part for part, writer in writers.items() if part not in optional and not writer.count]
    if empty:
        raise ConfigError(
            f"nothing is left for {', '.join(empty)} after reading, cleaning and splitting; give "
            "more data or change the shares in `split`"
        )


def place_demonstration(prompt: Prompt, config: DataConfig) -> str:
    """Return the part of a demonstration: where there are no preferences, dev and test too."""
    if config.has_preferences:
        return "demonstrations"
    split = config.split.model_copy(update={"rm_share": 0.0})
    parts = place(prompt, split, cut_test=not config.test)
    return next((part for part in ("test", "dev") if part in parts), "demonstrations")


def disjoint_pairs(config: DataConfig) -> list[tuple[str, str]]:
    """Return the pairs of parts that may share no prompt."""
    pairs = list(PROTOCOL_PAIRS)
    if config.split.dev_from_policy == "held_out":
        pairs.append(("policy_train", "dev"))
    if not config.has_preferences:
        pairs.append(("demonstrations", "dev"))
    return pairs
