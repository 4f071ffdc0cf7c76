"""What of the data a model will not see: records that were left out, prompts and answers cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tasks.data.files import GroupFolder
from tasks.models.tokens.encoding import Limits, encode_group, encode_prompt
from tasks.models.tokens.templates import find_template
from tasks.settings.base import FrozenConfig
from tasks.settings.errors import ConfigError
from tasks.settings.log import Log
from tasks.storage.files import read_json, write_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

EXAMINATION = "examination.json"
_ANY_LENGTH = 1 << 30
_FEW = 0.01
_SET_CUE = 'set `cue` of their sources, such as `cue: "TL;DR:"`'


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
    cued: dict[str, list[bool]] = field(default_factory=dict)
    """Whether each prompt of a part ends with the template's cue."""
    doubled: dict[str, int] = field(default_factory=dict)
    """Responses of a part that begin with it."""


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

    Raises:
        ConfigError: The data write what the template writes before a response, some or twice.
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
    _refuse_cue(found, config.template)
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
    cue = find_template(config.template).cue if config.template else ""
    for group in groups:
        ids, _ = encode_prompt(tokenizer, config.template, group.prompt, _ANY_LENGTH)
        found.prompts += 1
        if cue:
            text = group.prompt[-1].content.rstrip() if group.prompt else ""
            found.cued.setdefault(name, []).append(text.endswith(cue))
            twice = sum(text.lstrip().startswith(cue) for text in group.responses)
            found.doubled[name] = found.doubled.get(name, 0) + twice
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


def _refuse_cue(found: _Counts, template: str | None) -> None:
    """Refuse data in which a template's own words are there already.

    Raises:
        ConfigError: Responses begin with them, or the prompts of some parts alone end with them:
            the same prompt would be two.
    """
    for name, ends in found.cued.items():
        if found.doubled[name] > _FEW * len(ends):
            raise ConfigError(
                f"{found.doubled[name]:,} responses of {name} begin with what the template "
                f"{template} writes before them: {_SET_CUE}"
            )
    with_cue = {name: sum(ends) > len(ends) / 2 for name, ends in found.cued.items()}
    if len(set(with_cue.values())) > 1:
        named = [
            ", ".join(one for one in with_cue if with_cue[one] is has) for has in (True, False)
        ]
        raise ConfigError(
            f"the prompts of {named[0]} end with what the template {template} writes, and those of "
            f"{named[1]} do not, so that the same prompt would count as two: {_SET_CUE}"
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
