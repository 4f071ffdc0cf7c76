"""The tables of the APO paper, with its column names, from plain numbers.

A metric that nobody measured is said to be missing: without a judge its cells read "no judge", and
where the judge was asked of others "not judged".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tasks.evaluation.report.tables import Cell, Column, Table

NO_JUDGE = "no judge"
Shares = Mapping[str, float]
"""Shares of comparisons by outcome, `win`, `lose` and `tie`, each in [0, 1]."""


@dataclass(frozen=True, slots=True)
class DataCounts:
    """What the run's data sets hold (Table 1)."""

    train_pairs: int
    """Cleaned training pairs: those of RM_Test."""

    rm_train_pairs: int
    """Pairs that RM_Base is trained on, D_P."""

    policy_train_queries: int
    dev_pairs: int
    test_pairs: int
    gold_answers: int
    apo_samples: int
    """Negative responses of D_APO, per epoch."""

    alignment_samples: int
    """Scored samples the policy learns from, D_Q, per epoch."""

    evaluation_samples: int


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """One policy (Table 2)."""

    type: str
    """The block of rows it belongs to, such as "Base Models" or "Alignment"."""

    name: str
    base: str
    """The model it was trained from; "-" for a start."""

    scoring_rm: str
    """The reward model that trained it; "-" for none."""

    scores: Mapping[str, float] = field(default_factory=dict)
    """Average score by scorer, such as RM_All, RM_Test or oracle."""

    win_rates: Mapping[str, Shares] = field(default_factory=dict)
    """Against the start, by who judged: a scorer or `judge`."""


@dataclass(frozen=True, slots=True)
class RewardModelRow:
    """One reward model (Tables 3 and 4)."""

    name: str
    test_accuracy: float
    """Share of the test pairs ranked rightly, in [0, 1]."""

    test_ece: float
    dev_accuracy: float
    dev_ece: float
    seen: bool = False
    """Whether it was trained on the dev pairs, so that its dev metrics say little."""


@dataclass(frozen=True, slots=True)
class MatchRow:
    """Two policies against each other (Figures 3 and 4)."""

    ours: str
    theirs: str
    verdicts: Mapping[str, Shares]
    """The shares by who judged: a scorer or `judge`."""


def table_1(counts: DataCounts) -> Table:
    """Lay out the run's real counts as Table 1 does.

    Source:
        Table 1, arXiv 2311.08045 (APO).
    """
    columns = ("Data Type", "RM Train Set", "LLM Train Set", "Test Set")
    rows: tuple[tuple[Cell, ...], ...] = (
        (
            "Preference Pairs",
            f"D_P: {counts.rm_train_pairs:,}",
            f"Dev, validation for RMs: {counts.dev_pairs:,}",
            f"RM testing pairs: {counts.test_pairs:,}",
        ),
        (
            "Queries",
            "–",
            f"LLM alignment queries: {counts.policy_train_queries:,}",
            "–",
        ),
        (
            "Generated Samples",
            f"Negative responses for D_APO: {counts.apo_samples:,}",
            f"LLM alignment samples D_Q: {counts.alignment_samples:,}",
            f"LLM evaluation samples: {counts.evaluation_samples:,}",
        ),
        ("Golden Answers", f"Positive responses for D_APO: {counts.gold_answers:,}", "–", "–"),
    )
    note = f"Cleaned training pairs, used to learn RM_Test: {counts.train_pairs:,}."
    title = "Table 1: Data preparation and usage"
    return Table("table-1", title, tuple(Column(name) for name in columns), rows, note)


def table_2(rows: Sequence[PolicyRow], *, scorers: Sequence[str], start: str) -> Table:
    """Lay out the policies' average scores and win rates against the start as Table 2 does.

    A score is one column per scorer; a win rate is one per scorer and one for the judge.

    Source:
        Table 2, arXiv 2311.08045 (APO).
    """
    judges, missing = [*scorers, "judge"], _missing(row.win_rates for row in rows)
    columns = (
        *(Column(name) for name in ("Type", "Model Name", "LLM Base", "Scoring RM")),
        *(Column(f"{scorer} Score", ".3f") for scorer in scorers),
        *(Column(f"Win Rate (vs {start}), {judge}") for judge in judges),
    )
    cells = tuple(
        (
            row.type,
            row.name,
            row.base,
            row.scoring_rm,
            *(row.scores.get(scorer) for scorer in scorers),
            *(
                "-" if row.name == start else _verdict(row.win_rates, judge, missing)
                for judge in judges
            ),
        )
        for row in rows
    )
    note = "Win rate is calculated as (R_Win vs R_Lose vs R_Tie)."
    return Table("table-2", "Table 2: LLM alignment performance", columns, cells, note)


def table_3(rows: Sequence[RewardModelRow]) -> Table:
    """Lay out the reward models as Table 3 does; dev metrics of those trained on dev are "seen".

    Source:
        Table 3, arXiv 2311.08045 (APO).
    """
    return _reward_models("table-3", "Table 3: RM performance", rows)


def table_4(rows: Sequence[RewardModelRow]) -> Table:
    """Lay out the reward-model ablations as Table 4 does.

    Source:
        Table 4, arXiv 2311.08045 (APO).
    """
    return _reward_models("table-4", "Table 4: RM ablation study", rows)


def match_table(rows: Sequence[MatchRow], *, scorers: Sequence[str]) -> Table:
    """Lay out who beats whom, as Figures 3 and 4 do, a column per scorer and one for the judge.

    Source:
        Figures 3 and 4, arXiv 2311.08045 (APO).
    """
    judges, missing = [*scorers, "judge"], _missing(row.verdicts for row in rows)
    cells = tuple(
        (
            f"{row.ours} vs {row.theirs}",
            *(_verdict(row.verdicts, judge, missing) for judge in judges),
        )
        for row in rows
    )
    columns = (Column("Match"), *(Column(judge) for judge in judges))
    note = "Each cell is win vs lose vs tie, seen from the policy named first."
    return Table("matches", "Match-ups (Figures 3 and 4)", columns, cells, note)


def _reward_models(key: str, title: str, rows: Sequence[RewardModelRow]) -> Table:
    columns = (
        Column("Reward Models"),
        Column("T. Acc", ".2f"),
        Column("T. ECE", ".3f"),
        Column("D. Acc", ".2f"),
        Column("D. ECE", ".3f"),
        Column("Dev pairs"),
    )
    cells = tuple(
        (
            row.name,
            100 * row.test_accuracy,
            row.test_ece,
            100 * row.dev_accuracy,
            row.dev_ece,
            "seen" if row.seen else "held out",
        )
        for row in rows
    )
    note = '"T." and "D." are the test and the dev pairs; accuracy in percent.'
    return Table(key, title, columns, cells, note)


def _missing(verdicts: Iterable[Mapping[str, Shares]]) -> str:
    """Return what a cell of the judge's column says that has no verdict."""
    return "not judged" if any("judge" in one for one in verdicts) else NO_JUDGE


def _verdict(verdicts: Mapping[str, Shares], judge: str, missing: str) -> str:
    if judge not in verdicts:
        return missing if judge == "judge" else "not measured"
    shares = verdicts[judge]
    return " vs ".join(f"{shares[outcome]:.2%}" for outcome in ("win", "lose", "tie"))
