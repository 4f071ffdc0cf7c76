"""What a judge said of matches, as a report's table, sentences and examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tasks.evaluation.judging.config import HUMAN, match_name
from tasks.evaluation.judging.human_config import BY_PEOPLE
from tasks.evaluation.judging.matchup import RATES, read_verdicts
from tasks.evaluation.judging.people_table import (
    agreement_with_judge,
    people_findings,
    people_table,
)
from tasks.evaluation.judging.wording import percent, share_text, standing_word
from tasks.evaluation.metrics.estimates import share_interval
from tasks.evaluation.metrics.win_rates import win_rates_of_shares
from tasks.evaluation.report.document import Example
from tasks.evaluation.report.tables import Cell, Column, Table
from tasks.storage.files import read_json

_HUMAN = match_name(*HUMAN)
_SHOWN = 8
"""Prompts whose verdicts are shown."""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What a report says of a judge; nothing where there was none."""

    rates: Mapping[str, Mapping[str, Any]]
    """What the verdicts of each match come to, by `OURS vs THEIRS`."""
    people: Mapping[str, Mapping[str, Any]]
    """The same of the matches that people judged."""
    agreed: Mapping[str, str]
    """How far the judge agrees with people, in words, by the match's name."""
    examples: Sequence[Example]
    """Prompts of the first match of policies with both answers and the judge's own two."""

    @classmethod
    def read(cls, folders: Mapping[str, Path]) -> Verdicts:
        """Read outputs of `judge_responses` and `judge_by_people`, by the match's name."""
        polled = {
            name.removesuffix(BY_PEOPLE): folder
            for name, folder in folders.items()
            if name.endswith(BY_PEOPLE)
        }
        judged = {name: one for name, one in folders.items() if not name.endswith(BY_PEOPLE)}
        rates, people = (
            {name: read_json(folder / RATES) for name, folder in found.items()}
            for found in (judged, polled)
        )
        agreed = {
            name: agreement_with_judge(polled[name], judged[name])
            for name in polled.keys() & judged.keys()
        }
        return cls(rates, people, agreed, verdict_examples(judged))

    @property
    def by_people(self) -> bool:
        """Whether people came to a verdict on any match."""
        return any(not one["no_verdict"] for one in self.people.values())

    @property
    def won(self) -> bool:
        """Whether there is a verdict on any match."""
        return any(not one["no_verdict"] for one in self.rates.values())

    @property
    def headline(self) -> str:
        """Who wins the first match of policies by the judge, by how much, as one sentence."""
        name = next(name for name in self.rates if name != _HUMAN)
        found = self.rates[name]
        if found["no_verdict"]:
            return f"undecided: {name}, {found['no_verdict']}"
        ours, theirs = name.split(" vs ", 1)
        rates = found["rates"]
        shares = (
            f"wins {share_text(rates, 'win')} and loses {share_text(rates, 'lose')} % of "
            f"{found['valid']} prompts (95 %) against {theirs}"
        )
        standing = standing_word(rates)
        if standing == "undecided":
            return f"undecided: {ours} {shares}"
        return f"{ours} is {standing}: it {shares}"

    @property
    def tables(self) -> list[Table]:
        """The table of all matches, and that of agreement where reward models scored them."""
        found = [verdict_table(self.rates)] if self.rates else []
        if any(any(one["agreement"].values()) for one in self.rates.values()):
            found.append(agreement_table(self.rates))
        return [*found, people_table(self.people, self.agreed)] if self.people else found

    def shares(self, ours: str, theirs: str) -> dict[str, dict[str, float]]:
        """Return win, lose and tie of a match under `judge` and `people`; not without a verdict."""
        name = match_name(ours, theirs)
        known = {"judge": self.rates.get(name), "people": self.people.get(name)}
        return {
            who: {side: found["rates"][side] for side in ("win", "lose", "tie")}
            for who, found in known.items()
            if found is not None and not found["no_verdict"]
        }

    @property
    def findings(self) -> list[str]:
        """A sentence for each match."""
        return [*verdict_findings(self.rates), *people_findings(self.people)]


def verdict_table(matches: Mapping[str, Mapping[str, Any]]) -> Table:
    """Lay out who won by the judge, with what the order and the length did.

    Source:
        Table 2 and Figures 3 and 4, arXiv 2311.08045 (APO); Tables 1 and 2, arXiv 2402.00856 (EXO).
    """
    rows: list[tuple[Cell, ...]] = []
    for name, found in matches.items():
        judged = f"{found['valid']} of {found['asked']}"
        if found["no_verdict"]:
            rows.append((name, judged, "no verdict", *[None] * 5))
            continue
        rates = found["rates"]
        shares = (share_text(rates, side) for side in ("win", "tie", "lose"))
        equal = found["length_controlled_win"]
        controlled = None if equal is None else percent(equal, found["length_controlled"])
        flipped, first = (100 * found[key]["value"] for key in ("flipped", "first_chosen"))
        rows.append((name, judged, *shares, controlled, flipped, first))
    columns = (
        *map(Column, ("Match", "Judged", "Win ↑ (%)", "Tie (%)", "Lose ↓ (%)")),
        Column("Win at equal length ↑ (%)"),
        Column("Flipped (%)", ".1f"),
        Column("First chosen (%)", ".1f"),
    )
    note = (
        "A language model compares one answer of each side in both orders; in brackets 95 % "
        "intervals over prompts. A verdict that flips with the order is a tie. Answers out of form "
        "count as nothing; under half in form there is no verdict. First chosen: share of single "
        "verdicts for the answer shown first, 50 without bias. Win at equal length: by a logistic "
        "model of the length, a tie one half. In the match of chosen and rejected, a win is "
        "agreement with the people who chose."
    )
    return Table("judge", "Win rates by the judge", columns, tuple(rows), note)


def agreement_table(matches: Mapping[str, Mapping[str, Any]]) -> Table:
    """Lay out how often each reward model names the winner that the judge names."""
    scorers = sorted({name for found in matches.values() for name in found["agreement"]})
    rows: list[tuple[Cell, ...]] = []
    for name, found in matches.items():
        known = (found["agreement"].get(scorer) for scorer in scorers)
        shares = (
            f"{percent(one['value'], _ends(one))} of {one['count']}" if one else None
            for one in known
        )
        rows.append((name, *shares))
    columns = (Column("Match"), *(Column(f"{scorer} (%)") for scorer in scorers))
    note = (
        "How often a reward model gives the higher score to the answer that the judge prefers, of "
        "the pairs in which both prefer one, with its 95 % interval; 50 is chance."
    )
    return Table("judge-agreement", "Agreement with reward models", columns, tuple(rows), note)


def _ends(agreed: Mapping[str, Any]) -> dict[str, float]:
    return asdict(share_interval(agreed["value"], agreed["count"]))


def judged_metrics(folder: Path, seed: int, resamples: int) -> dict[str, float]:
    """Return what a gate asks of the verdicts of a match; nothing where there is no verdict.

    Returns:
        `judged_win_rate`, ties as halves, with `_low` and `_high`; `judged_pairs` behind it, and
        `judged_flipped`.
    """
    found = read_json(folder / RATES)
    if found["no_verdict"]:
        return {}
    shares = {"win": (1.0, 0.0, 0.0), "lose": (0.0, 1.0, 0.0), "tie": (0.5, 0.5, 0.0)}
    outcomes = (one["outcome"] for one in read_verdicts(folder))
    halves = [shares[one] for one in outcomes if one in shares]
    rates = win_rates_of_shares(halves, seed=seed, resamples=resamples)
    return {
        "judged_win_rate": rates.win,
        "judged_win_rate_low": rates.win_interval.low,
        "judged_win_rate_high": rates.win_interval.high,
        "judged_pairs": float(len(halves)),
        "judged_flipped": float(found["flipped"]["value"]),
    }


def verdict_findings(matches: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Say of each match who is ahead by the judge, as far as its interval tells."""
    for name, found in matches.items():
        if found["no_verdict"]:
            yield f"{name} by the judge: {found['no_verdict']}"
            continue
        rates = found["rates"]
        if name == _HUMAN:
            ends = rates["win_interval"]
            yield (
                f"the judge agrees with people on {rates['win']:.0%} of {found['valid']} test "
                f"pairs (95 %: {ends['low']:.0%} to {ends['high']:.0%}; a tie is no agreement), "
                f"and length alone on {found['longer']:.0%}"
            )
            continue
        second = ""
        if both := found.get("confirmed"):
            second = (
                f", {both['value']:.0%} confirmed and {found['contradicted']['value']:.0%} "
                "contradicted by the cross-check"
            )
        yield (
            f"{name} by the judge: wins {rates['win']:.0%}, ties {rates['tie']:.0%}, loses "
            f"{rates['lose']:.0%} of {found['valid']} prompts, {found['flipped']['value']:.0%} "
            f"flipped with the order{second}: {standing_word(rates)}"
        )


def verdict_examples(folders: Mapping[str, Path]) -> list[Example]:
    """Return prompts of the first match of policies with both answers and the judge's own two."""
    for name, folder in folders.items():
        if name == _HUMAN:
            continue
        ours, theirs = name.split(" vs ", 1)
        asked = [one for one in read_verdicts(folder) if any(one["answers"])]
        return [
            Example(
                one["prompt"],
                {
                    ours: one["ours"],
                    theirs: one["theirs"],
                    f"judge, {ours} first": one["answers"][0] or "",
                    f"judge, {theirs} first": one["answers"][1] or "",
                    "verdict": one["outcome"],
                },
            )
            for one in asked[:_SHOWN]
        ]
    return []
