"""What of the data a model will not see: records that were left out, prompts and answers cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tasks.data.files import GroupFolder
from tasks.models.tokens.encoding import Limits, encode_group, encode_prompt
from tasks.settings.base import FrozenConfig
from tasks.settings.log import Log
from tasks.storage.files import read_json, write_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

EXAMINATION = "examination.json"
_ANY_LENGTH = 1 << 30


class ExaminationConfig(FrozenConfig):
    """How the data will be read."""

    template: str | None = None
    """Chat template by name; None is the model's own."""

    limits: dict[str, Limits] = Field(default_factory=dict)
    """Longest prompt and response by the part of the data that a model is trained on."""

    prompts: dict[str, Limits] = Field(default_factory=dict)
    """The same of the parts whose prompts alone are used."""


@dataclass
class _Counts:
    """What was seen so far."""

    prompts: int = 0
    cut: int = 0
    longest: int = 0
    responses: int = 0
    without_eos: int = 0


def examine(
    counts: Path,
    parts: Mapping[str, Path],
    model: Path,
    config: ExaminationConfig,
    output: Path,
    log: Log,
) -> dict[str, float]:
    """Encode every part as training will, and write what was found, with a sentence for people.

    Args:
        counts: table1.json of the prepared data.
        parts: Folders of groups by the names that `config` has.
        model: Folder whose tokenizer counts.
        config: Template and limits.
        output: Receives examination.json.
        log: Told the sentence.

    Returns:
        `read` and `left_out`, both records; `truncated_prompts` and `responses_without_eos`,
        shares; `longest_prompt` in tokens.
    """
    from tasks.models.tokens.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(model)
    found = _Counts()
    sizes = {name: len(GroupFolder(path)) for name, path in parts.items()}
    done = 0
    for name, path in parts.items():
        _count(tokenizer, GroupFolder(path), name, config, found)
        done += sizes[name]
        log.progress(done, sum(sizes.values()), "groups")
    table = read_json(counts)
    sentence = " ".join([f"data: {_records(table)};", _lengths(found)])
    log.note(sentence)
    metrics = {
        "read": float(table["read"]),
        "left_out": float(sum(_left_out(table).values())),
        "truncated_prompts": found.cut / max(found.prompts, 1),
        "longest_prompt": float(found.longest),
        "responses_without_eos": found.without_eos / max(found.responses, 1),
    }
    write_json(output / EXAMINATION, {"sentence": sentence, "metrics": metrics})
    return metrics


def _count(
    tokenizer: PreTrainedTokenizerBase,
    groups: GroupFolder,
    name: str,
    config: ExaminationConfig,
    found: _Counts,
) -> None:
    """Add the groups of one part."""
    limits = config.limits.get(name) or config.prompts[name]
    # Whether a long response is an error is for whoever trains on it to say.
    lenient = limits.model_copy(update={"on_long_response": "truncate_without_eos"})
    for group in groups:
        ids, _ = encode_prompt(tokenizer, config.template, group.prompt, _ANY_LENGTH)
        found.prompts += 1
        found.longest = max(found.longest, len(ids))
        if name not in config.limits:
            found.cut += len(ids) > limits.max_prompt_tokens
        else:
            encoded = encode_group(tokenizer, config.template, group, lenient)
            found.cut += encoded.truncated_prompt
            found.responses += len(encoded.responses_ids)
            found.without_eos += sum(
                ids[-1:] != [tokenizer.eos_token_id] for ids in encoded.responses_ids
            )


def _left_out(table: Mapping[str, Any]) -> dict[str, int]:
    """Return how many records were left out by reason, over all sources."""
    reasons = {"unreadable": int(table["bad_records"])}
    for dropped in table["dropped"].values():
        for reason, count in dropped.items():
            reasons[reason] = reasons.get(reason, 0) + count
    found = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return {reason: count for reason, count in found if count}


def _records(table: Mapping[str, Any]) -> str:
    reasons = _left_out(table)
    named = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in reasons.items())
    left_out = f"{sum(reasons.values()):,} left out ({named})" if reasons else "none left out"
    return f"{table['read']:,} records read, {left_out}"


def _lengths(found: _Counts) -> str:
    cut = f"{found.cut / max(found.prompts, 1):.1%} of prompts lose their beginning"
    longest = f"the longest has {found.longest:,} tokens"
    share = found.without_eos / max(found.responses, 1)
    return f"{cut} ({longest}), {share:.1%} of responses are without EOS"
