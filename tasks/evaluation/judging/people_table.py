"""What people said of matches, as a report's table and sentences, beside the judge's verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.evaluation.judging.matchup import read_verdicts
from tasks.evaluation.judging.wording import share_text, standing_word
from tasks.evaluation.metrics.annotator_agreement import kappa
from tasks.evaluation.report.tables import Cell, Column, Table


def people_table(matches: Mapping[str, Mapping[str, Any]], with_judge: Mapping[str, str]) -> Table:
    """Lay out who won by people, how far they agree, and how far the judge agrees with them.

    Args:
        matches: What each match came to, by its name.
        with_judge: Agreement with the judge in words, by the match's name.

    Source:
        Figure 4, arXiv 2311.08045 (APO); Figure 4, arXiv 2402.00856 (EXO).
    """
    rows: list[tuple[Cell, ...]] = []
    for name, found in matches.items():
        judged = f"{found['valid']} of {found['asked']}"
        if found["no_verdict"]:
            rows.append((name, judged, "no verdict", *[None] * 6))
            continue
        shares = (share_text(found["rates"], side) for side in ("win", "tie", "lose"))
        agreed = found["kappa"]
        words = agreed and f"{agreed['value']:.2f} ({agreed['method']}, {agreed['people']} people)"
        first = 100 * found["first_chosen"]["value"]
        split = 100 * found["split"] / found["valid"]
        rows.append((name, judged, *shares, split, words, with_judge.get(name), first))
    columns = (
        *map(Column, ("Match", "Judged", "Win ↑ (%)", "Tie (%)", "Lose ↓ (%)")),
        Column("Split (%)", ".1f"),
        Column("Agreement κ"),
        Column("With the judge"),
        Column("First chosen (%)", ".1f"),
    )
    note = (
        "People compare one answer of each side, in an order drawn for each prompt; in brackets "
        "95 % intervals over prompts. What more than half of those asked say of a prompt counts, "
        "else it is a tie. Split: share of prompts that are a tie because no answer came to that. "
        "κ: agreement of people beyond chance. With the judge: how often its "
        "verdict is the people's, and κ of the two. First chosen: share of single verdicts for the "
        "answer shown first, 50 without bias."
    )
    return Table("people", "Win rates by people", columns, tuple(rows), note)


def people_findings(matches: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Say of each match who is ahead by people, as far as its interval tells."""
    for name, found in matches.items():
        if found["no_verdict"]:
            yield f"{name} by people: {found['no_verdict']}"
            continue
        rates, agreed = found["rates"], found["kappa"]
        words = f", κ = {agreed['value']:.2f}" if agreed else ""
        split = f" ({found['split'] / found['valid']:.0%} split)" if found["split"] else ""
        yield (
            f"{name} by people: wins {rates['win']:.0%}, ties {rates['tie']:.0%}{split}, loses "
            f"{rates['lose']:.0%} of {found['valid']} prompts{words}: {standing_word(rates)}"
        )


def agreement_with_judge(people: Path, judge: Path) -> str:
    """Return in words how far the verdicts in two folders agree; empty where none are shared."""
    both = [_outcomes(folder) for folder in (people, judge)]
    shared = both[0].keys() & both[1].keys()
    votes = {name: {"people": both[0][name], "judge": both[1][name]} for name in sorted(shared)}
    if not votes:
        return ""
    same = sum(one["people"] == one["judge"] for one in votes.values())
    found = kappa(votes)
    beyond = f", κ = {found.value:.2f}" if found else ""
    return f"{100 * same / len(votes):.0f} % of {len(votes)}{beyond}"


def _outcomes(folder: Path) -> dict[str, str]:
    found = read_verdicts(folder)
    return {one["id"]: one["outcome"] for one in found if one["outcome"] != "invalid"}
