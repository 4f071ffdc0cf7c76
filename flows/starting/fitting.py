"""What the user's pairs and model say about a configuration: lengths, template, how to divide."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from flows.starting.questions import CHOSEN, SMALL, Answers
from tasks.data.cleaning import Cleaner
from tasks.data.groups import Group, Prompt, first_turn_hash
from tasks.data.inspection.doctor import Inspection, refusing
from tasks.data.inspection.doctor_report import DoctorReport
from tasks.data.inspection.spread import Spread
from tasks.data.inspection.tokens import TokenStatistics
from tasks.data.sources.config import SourceConfig
from tasks.data.sources.reader import read_source
from tasks.data.splits import SplitConfig, place
from tasks.gold.collection import GoldConfig, hold_out
from tasks.models.tokens.encoding import Limits
from tasks.settings.errors import ConfigError, require_path

LOOKED_AT = 20_000
"""Records of a file that are looked at, a sample: enough for lengths."""
VOCABULARY = 1024
_TEMPLATES = ("hh", "alpaca", "plain")
"""For models without a template of their own, the first that the tokenizer can write."""
_SMALL_CONTEXT, _LONGEST_CONTEXT = 1024, 2048
"""Longer sequences take hours on a laptop, and much memory anywhere: whoever wants them says so."""
_LONGEST_SAMPLE = {True: 256, False: _LONGEST_CONTEXT}
"""Of a small model, and of another one."""
_MAY_BE_CUT = 0.05
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
    """Holds the longest prompt, or all but the longest twentieth, unless the context is less."""
    max_response_tokens: int
    """The same for responses, EOS included."""
    max_new_tokens: int
    """Longest sample: a response, but for a small model, which rambles, no very long one."""
    context: int
    """The most tokens that were planned for, prompt and response together."""
    split: SplitConfig
    """A division in which no part is empty."""

    def about_limits(self) -> Iterator[str]:
        """Say what the limits are, whom they cut, and what bound them, a line each."""
        seen = [file.tokens for file in self.report.files if file.tokens]
        prompts, responses = (
            max(share or 0.0 for share in shares)
            for shares in zip(
                *((one.truncated_prompts, one.truncated_responses) for one in seen), strict=True
            )
        )
        ends = [
            f"{share:.1%} are longer and lose their {end}" if share else "none is longer"
            for share, end in ((prompts, "beginning"), (responses, "end"))
        ]
        yield f"limits: prompts {self.max_prompt_tokens} tokens, {ends[0]};"
        yield f"        responses {self.max_response_tokens} tokens, {ends[1]}"
        if max(prompts, responses) > _MAY_BE_CUT:
            yield f"        so many are cut because both together may have {self.context:,} tokens"
        yield f"samples: up to {self.max_new_tokens} tokens"


def fit(answers: Answers) -> Fit:
    """Look at the files and the model.

    Raises:
        ConfigError: A file or the model cannot be read, there are too few prompts to divide, or
            what is tested on is what is trained on.
    """
    for path in (answers.gold, answers.test):
        if path is not None and path != CHOSEN:
            require_path(path)
    fields = dict(answers.fields)
    sources, tests = (
        [SourceConfig(path=str(path), limit=LOOKED_AT, fields=fields) for path in paths]
        for paths in (answers.data, [answers.test] if answers.test else [])
    )
    tested = {first_turn_hash(group.prompt) for group in _comparisons(tests, None)}
    groups = _trained_on(answers, list(_comparisons(sources, None)), tested)
    learnt = _learnt(groups, _split(groups, bool(tests)), bool(tests))
    tokenizer, context = _tokenizer(answers.model, learnt)
    template, render = _template(answers, tokenizer)
    found = Inspection([*sources, *tests], tokenizer, render=render)
    limits = _limits([file.tokens for file in found.report().files if file.tokens], context)
    readable = list(_comparisons(sources, refusing(render)))
    return Fit(
        found.report(limits, answers.max_bad_share),
        template,
        limits.max_prompt_tokens,
        limits.max_response_tokens,
        min(limits.max_response_tokens, _LONGEST_SAMPLE[answers.model == SMALL]),
        context,
        _split(_trained_on(answers, readable, tested), bool(tests)),
    )


def _comparisons(
    sources: list[SourceConfig], check: Callable[[Group], None] | None
) -> Iterator[Group]:
    """Yield the pairs that a run would learn from."""
    cleaner = Cleaner(needs=2)
    for source in sources:
        yield from cleaner.clean(
            read_source(source, lambda bad: None, max_bad_share=1, check=check)
        )


def _trained_on(answers: Answers, groups: list[Group], tested: set[str]) -> list[Group]:
    """Return the pairs whose prompt is not among those that are tested on.

    Raises:
        ConfigError: There are none.
    """
    named = ", ".join(map(str, answers.data))
    if not groups:
        raise ConfigError(
            f"{named}: a run has no pairs to learn from; `sparring doctor --data` says why"
        )
    left = [group for group in groups if first_turn_hash(group.prompt) not in tested]
    if not left:
        raise ConfigError(
            f"every prompt of {named} is in {answers.test} too, so nothing is left to learn from: "
            "give other test pairs, or leave --test out and a share is cut off"
        )
    return left


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
    from tasks.models.source_checks import looks_local

    if not (looks_local(model) or Path(model).exists()):
        from flows.steps.hub_commits import hub_commit

        hub_commit("model", model, None)  # else transformers asks again for half a minute
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


def _limits(found: list[TokenStatistics], context: int) -> Limits:
    """Return limits that hold nearly everything, prompts giving way where the context is short."""
    prompt, response = (
        max(_limit(spread) for spread in spreads)
        for spreads in zip(*((one.prompt, one.response) for one in found), strict=True)
    )
    half = context // 2 // _STEP * _STEP
    response = min(response, max(context - prompt, half))
    return Limits(max_prompt_tokens=min(prompt, context - response), max_response_tokens=response)


def _limit(lengths: Spread) -> int:
    """Return a limit that holds the longest, or 19 of 20 where the longest is far off.

    Example:
        >>> _limit(Spread(10.0, 9, 20, 30)), _limit(Spread(90.0, 80, 200, 9000))
        (48, 224)
    """
    wanted = lengths.longest if lengths.longest <= 2 * lengths.p95 else lengths.p95
    # A tenth more, for what lies beyond the records that were looked at.
    return _STEP * math.ceil(max(1.1 * wanted, 1) / _STEP)


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
        f"too few distinct prompts to divide ({len(prompts)}): a run needs some for the reward "
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
