"""What the user's pairs and model say about a configuration: lengths, template, how to divide."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from flows.starting.questions import CHOSEN, SMALL, Answers
from tasks.data.groups import Group, Prompt, first_turn_hash
from tasks.data.inspection.doctor import inspect_data, refusing
from tasks.data.inspection.doctor_report import DoctorReport
from tasks.data.inspection.spread import Spread
from tasks.data.sources.config import SourceConfig
from tasks.data.sources.reader import read_source
from tasks.data.splits import SplitConfig, place
from tasks.gold.collection import GoldConfig, hold_out
from tasks.settings.errors import ConfigError, require_path

LOOKED_AT = 20_000
"""Records of a file that are looked at, a sample: enough for lengths."""
VOCABULARY = 1024
_TEMPLATES = ("hh", "alpaca", "plain")
"""For models without a template of their own, the first that the tokenizer can write."""
_SMALL_CONTEXT, _LONGEST_CONTEXT = 512, 2048
_STEP = 16
_FEW_PROMPTS = 200
_SEEDS = 1000


class Fit(NamedTuple):
    """What was found, as values for the configuration."""

    report: DoctorReport
    """What the doctor says of the files, in tokens of the model."""
    template: str | None
    """Chat template by name; None for the model's own."""
    max_prompt_tokens: int
    """Holds the longest prompt, or all but the longest twentieth."""
    max_response_tokens: int
    """The same for responses, EOS included."""
    split: SplitConfig
    """A division in which no part is empty."""


def fit(answers: Answers) -> Fit:
    """Look at the files and the model.

    Raises:
        ConfigError: A file or the model cannot be read, or there are too few prompts to divide.
    """
    for path in (answers.gold, answers.test):
        if path is not None and path != CHOSEN:
            require_path(path)
    sources = [SourceConfig(path=str(path), limit=LOOKED_AT) for path in answers.data]
    tests = [SourceConfig(path=str(answers.test), limit=LOOKED_AT)] if answers.test else []
    groups = list(_comparisons(sources, None))
    if not groups:
        named = ", ".join(map(str, answers.data))
        raise ConfigError(f"{named}: no pairs can be read; `sparring doctor --data` says why")
    learnt = _learnt(groups, _split(groups, bool(tests)), bool(tests))
    tokenizer, context = _tokenizer(answers.model, learnt)
    template, render = _template(answers, tokenizer)
    report = inspect_data([*sources, *tests], None, tokenizer, render=render)
    spreads = [file.tokens for file in report.files if file.tokens]
    most = context // 3 // _STEP * _STEP
    response = max(_limit(one.response, most) for one in spreads)
    prompt = max(_limit(one.prompt, context - response) for one in spreads)
    split = _split(list(_comparisons(sources, refusing(render))), bool(tests))
    return Fit(report, template, prompt, response, split)


def _comparisons(
    sources: list[SourceConfig], check: Callable[[Group], None] | None
) -> Iterator[Group]:
    for source in sources:
        for group in read_source(source, lambda bad: None, max_bad_share=1.0, check=check):
            if len(group.responses) > 1:
                yield group


def _learnt(groups: list[Group], split: SplitConfig, has_test: bool) -> Iterator[Group]:
    """Yield what a run would train a small model's tokenizer on: nothing of dev and test."""
    for group in groups:
        parts = place(group.prompt, split, cut_test=not has_test)
        if "rm_train" in parts:
            yield group
        elif not {"dev", "test"} & set(parts):
            yield Group(group.prompt, group.responses[:1])


def _tokenizer(model: str, groups: Iterator[Group]) -> tuple[Any, int]:
    """Return the model's tokenizer and the longest sequence to plan for, in tokens."""
    from tasks.models.base_policy import corpus_texts
    from tasks.models.tokens.tokenizer import load_tokenizer, train_tokenizer

    if model == SMALL:
        with tempfile.TemporaryDirectory() as folder:
            return train_tokenizer(corpus_texts(groups), VOCABULARY, folder), _SMALL_CONTEXT
    from tasks.models.loading import load_config

    context = getattr(load_config(model), "max_position_embeddings", None) or _LONGEST_CONTEXT
    return load_tokenizer(model), min(context, _LONGEST_CONTEXT)


def _template(answers: Answers, tokenizer: Any) -> tuple[str | None, Callable[[Prompt], str]]:
    """Return the name of the template, None for the model's own, and what renders prompts by it."""
    from tasks.models.tokens.conversations import render_prompt, resolve_template

    given = answers.template
    if given is None and not tokenizer.chat_template:
        given = _offered(tokenizer)
    name = resolve_template(tokenizer, given)
    return given, lambda prompt: render_prompt(tokenizer, name, prompt)


def _offered(tokenizer: Any) -> str:
    """Return the first named template that fits a tokenizer without one of its own."""
    from tasks.models.tokens.conversations import resolve_template

    for name in _TEMPLATES[:-1]:
        try:
            resolve_template(tokenizer, name)
        except ConfigError:
            continue
        return name
    return _TEMPLATES[-1]


def _limit(lengths: Spread, most: int) -> int:
    """Return a limit that holds the longest, or 19 of 20 where the longest is far off.

    Example:
        >>> _limit(Spread(10.0, 9, 20, 30), 512), _limit(Spread(90.0, 80, 200, 9000), 512)
        (48, 224)
    """
    wanted = lengths.longest if lengths.longest <= 2 * lengths.p95 else lengths.p95
    # A tenth more, for what lies beyond the records that were looked at.
    return min(_STEP * math.ceil(max(1.1 * wanted, 1) / _STEP), most)


def _split(groups: list[Group], has_test: bool) -> SplitConfig:
    """Return a division that leaves no part empty, whatever the number of prompts.

    Raises:
        ConfigError: There are too few prompts for the parts that a run needs.
    """
    prompts = list({first_turn_hash(group.prompt): group for group in groups}.values())
    dev, test = (0.4, 0.25) if len(prompts) < _FEW_PROMPTS else (0.2, 0.1)
    for seed in range(_SEEDS):
        split = SplitConfig(rm_share=0.4, dev_share=dev, test_share=test, seed=seed)
        if _is_whole(prompts, split, has_test):
            return split
    raise ConfigError(
        f"{len(prompts)} distinct prompts are too few to divide: a run needs some for the reward "
        "model, for the policy, to watch and to test; give more pairs"
    )


def _is_whole(prompts: list[Group], split: SplitConfig, has_test: bool) -> bool:
    parts: dict[str, list[Group]] = {}
    for group in prompts:
        for part in place(group.prompt, split, cut_test=not has_test):
            parts.setdefault(part, []).append(group)
    needed = {"rm_train", "policy_train", "dev"} | (set() if has_test else {"test"})
    if not needed <= parts.keys():
        return False
    gold = GoldConfig(provider="chosen")
    return all(hold_out(parts["rm_train"], gold.dev_share))
