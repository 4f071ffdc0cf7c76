"""Gold looked at before anything learns from it: what is wrong with an answer, and what then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from pydantic import Field

from tasks.data.groups import Group, text_hash
from tasks.gold.answer_checks import is_refusal, other_language, whole_sentences
from tasks.gold.answer_lengths import Lengths, length_bound, lengths_of
from tasks.gold.provider import GoldAnswer
from tasks.settings.base import FrozenConfig

Action = Literal["keep", "repair", "quarantine"]
"""keep: it is counted, and used; repair: as the field says; quarantine: it is kept aside."""
Kind = Literal["withheld", "empty", "truncated", "refused", "duplicate", "language", "length"]
"""What can be wrong with an answer."""
KINDS: tuple[Kind, ...] = (
    "withheld", "empty", "truncated", "refused", "duplicate", "language", "length",
)  # fmt: skip
_DONE: Mapping[Action, str] = {
    "keep": "kept",
    "repair": "repaired",
    "quarantine": "quarantined",
}


class QualityConfig(FrozenConfig):
    """What becomes of answers that something is wrong with, before anything learns from them.

    Empty answers, and those that a server's filter withheld, are always kept aside.
    """

    truncated: Action = "quarantine"
    """Answers that the limit of tokens cut off, as the server says; repair cuts them behind their
    last whole sentence."""
    refused: Literal["keep", "quarantine"] = "keep"
    """Answers that begin as “I'm sorry, but I can't help with that”, in English, German, French,
    Spanish, Portuguese, Italian, Russian, Chinese, Japanese or Korean. Default keep: to a harmful
    request they are the right answer, which people prefer in HH-RLHF."""
    duplicate: Action = "keep"
    """The same text as an answer to `duplicates_from` prompts or more; repair keeps the first.
    Default keep: short answers are often the same."""
    duplicates_from: int = Field(default=3, ge=2)
    """Prompts with the same answer from which on these are duplicates."""
    language: Literal["keep", "quarantine"] = "quarantine"
    """Answers in another language than the last turn of their prompt, where both are sure: Chinese,
    Japanese and Korean from four signs on, others from 40 letters on. Set it to keep for
    translations."""
    length: Action = "keep"
    """Answers longer than `longest_ratio` times the longest of 20 chosen answers of the data;
    repair cuts them behind a whole sentence."""
    longest_ratio: float = Field(default=3.0, ge=1)
    """How many times as long as the 95th percentile of the chosen answers gold may be."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An answer that nothing learns from."""

    id: str
    """The query's."""
    kind: Kind
    """What is wrong with it."""
    source: str
    """Who wrote it."""
    text: str
    """The answer, as far as there is one."""
    raw: str
    """What the server sent, as it came; empty for other sources."""

    def to_json(self) -> dict[str, str]:
        """Return it as a line of `quarantine.jsonl`."""
        return asdict(self)


@dataclass(slots=True)
class CheckedGold:
    """What is left of the answers, and what was found."""

    kept: dict[str, GoldAnswer] = field(default_factory=dict)
    """The answers to learn from, some of them repaired, by the query's id."""
    repaired: set[str] = field(default_factory=set)
    """Ids of those that were repaired."""
    quarantine: list[Quarantined] = field(default_factory=list)
    """The others."""
    kinds: dict[Kind, Counter[str]] = field(
        default_factory=lambda: {kind: Counter() for kind in KINDS}
    )
    """How many of each kind were kept, repaired and quarantined."""
    lengths: Lengths | None = None
    """How long gold is, beside the chosen answers; None without any."""

    def metrics(self) -> dict[str, float]:
        """Return flat names and floats, ready to be logged."""
        flat = {f"quality/{kind}": float(found.total()) for kind, found in self.kinds.items()}
        flat |= {"quality/quarantined": float(len(self.quarantine))}
        flat |= {"quality/repaired": float(len(self.repaired))}
        if self.lengths:
            flat["quality/longer_share"] = self.lengths.longer_share
        return flat

    def to_json(self) -> dict[str, Any]:
        """Return it as `quality.json`."""
        names = _DONE.values()
        kinds = {kind: {name: found[name] for name in names} for kind, found in self.kinds.items()}
        return {"kinds": kinds, "lengths": self.lengths and self.lengths.to_json()}

    def sentences(self) -> list[str]:
        """Return what was found, for people; nothing where nothing was."""
        told = [
            f"gold: {found.total():,} {kind} ("
            + ", ".join(f"{count:,} {name}" for name, count in sorted(found.items()))
            + ")"
            for kind, found in self.kinds.items()
            if found
        ]
        return [*told, *([self.lengths.sentence()] if self.lengths else [])]


def check_gold(
    config: QualityConfig,
    queries: Iterable[Group],
    answers: Mapping[str, GoldAnswer],
    chosen: Iterable[int] = (),
) -> CheckedGold:
    """Find what is wrong with answers, and keep, repair or quarantine each.

    Args:
        config: What is done about which kind.
        queries: The prompts, by whose ids the answers are.
        answers: As the provider gave them.
        chosen: Lengths of the chosen answers of the data, in characters.
    """
    found, usual = CheckedGold(), sorted(chosen)
    bound = length_bound(usual, config.longest_ratio)
    asked = list(queries)
    # Of one prompt the same candidate twice is no duplicate.
    told = {(_digest(answers[one.id].text), one.prompt) for one in asked if one.id in answers}
    copies = Counter(digest for digest, _ in told)
    seen: set[str] = set()
    for query in asked:
        if (answer := answers.get(query.id)) is None:
            continue
        digest, whole = _digest(answer.text), answer
        wrong = _problems(config, query, answer, copies[digest], bound)
        for kind in wrong:
            action = _action(config, kind)
            if action == "repair":
                text = _repaired(kind, answer.text, bound, is_first=digest not in seen)
                action = "repair" if text else "quarantine"
                answer = replace(answer, text=text or answer.text)
            found.kinds[kind][_DONE[action]] += 1
            if action == "quarantine":
                aside = Quarantined(query.id, kind, whole.source, whole.text, whole.raw)
                found.quarantine.append(aside)
                break
        else:
            found.kept[query.id] = answer
            if answer.text != whole.text:
                found.repaired.add(query.id)
        seen.add(digest)
    if usual and found.kept:
        found.lengths = lengths_of([len(one.text) for one in found.kept.values()], usual)
    return found


def _problems(
    config: QualityConfig, query: Group, answer: GoldAnswer, copies: int, bound: float
) -> list[Kind]:
    """Return what is wrong with an answer, in the order of `KINDS`."""
    told = answer.problem
    if told == "withheld" or not answer.text.strip():
        return ["withheld" if told == "withheld" else "empty"]
    tests: dict[Kind, bool] = {
        "truncated": told == "truncated",
        "refused": is_refusal(answer.text),
        "duplicate": copies >= config.duplicates_from,
        "language": other_language(query.prompt[-1].content if query.prompt else "", answer.text),
        "length": len(answer.text) > bound,
    }
    return [kind for kind, is_so in tests.items() if is_so]


def _action(config: QualityConfig, kind: Kind) -> Action:
    if kind in ("withheld", "empty"):
        return "quarantine"
    action: Action = getattr(config, kind)
    return action


def _repaired(kind: Kind, text: str, bound: float, *, is_first: bool) -> str:
    """Return a text that may be learnt from; empty where there is none in it."""
    if kind == "duplicate":
        return text if is_first else ""
    return whole_sentences(text if kind == "truncated" else text[: int(bound)])


def _digest(text: str) -> str:
    return text_hash("", text)
