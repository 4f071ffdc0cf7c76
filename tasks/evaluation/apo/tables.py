"""The tables of an APO run: from its evaluations to the rows of the paper's tables, and our own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.evaluation.apo.game import GameState
from tasks.evaluation.apo.paper_tables import (
    DataCounts,
    MatchRow,
    PolicyRow,
    RewardModelRow,
    table_3,
    table_4,
)
from tasks.evaluation.config import Entry, ReportConfig
from tasks.evaluation.judging.verdict_table import Verdicts
from tasks.evaluation.report.tables import Column, Table

START = "start"
CHOSEN = "chosen"
Evaluations = Mapping[str, Any]


def data_counts(
    table: Mapping[str, Any], gold: int, policies: Evaluations, config: ReportConfig
) -> DataCounts:
    """Return the real counts of Table 1."""
    parts = {name: part["groups"] for name, part in table["parts"].items()}
    queries = table["parts"]["policy_train"]["prompts"]
    asked = min(queries, config.max_queries or queries)
    return DataCounts(
        train_pairs=parts["rm_train"] + parts["policy_train"],
        rm_train_pairs=parts["rm_train"],
        policy_train_queries=queries,
        dev_pairs=parts["dev"],
        test_pairs=parts["test"],
        gold_answers=gold,
        apo_samples=gold * config.samples,
        alignment_samples=asked * config.samples,
        evaluation_samples=sum(
            len(row["scores"]["RM_Test"]) for row in policies[START]["per_prompt"].values()
        ),
    )


def policy_rows(
    entries: tuple[Entry, ...], policies: Evaluations, judged: Verdicts
) -> list[PolicyRow]:
    """Return the rows of Table 2 in the order of the entries."""
    rows = []
    for entry in entries:
        evaluation = policies[entry.name]
        rows.append(
            PolicyRow(
                type="Alignment" if entry.epoch else "Base models and opponents",
                name=entry.name,
                base=START if entry.epoch or entry.name == "golden-SFT" else "-",
                scoring_rm=entry.scoring,
                scores={name: score["value"] for name, score in evaluation["scores"].items()},
                win_rates={
                    **evaluation["against"].get(START, {}),
                    **judged.shares(entry.name, START),
                },
            )
        )
    return rows


def reward_tables(models: Evaluations, config: ReportConfig) -> list[Table]:
    """Return Table 3 (testing and adapted models), Table 4 (variants), and the length baseline."""
    rows = {
        name: RewardModelRow(
            name=name,
            test_accuracy=sets["test"]["figures"]["accuracy"],
            test_ece=sets["test"]["figures"]["ece"],
            dev_accuracy=sets["dev"]["figures"]["accuracy"],
            dev_ece=sets["dev"]["figures"]["ece"],
            seen=name in config.seen_by_testers,
        )
        for name, sets in models.items()
    }
    adapted = [row for name, row in rows.items() if name.startswith("RM_APO-")]
    others = [
        row
        for name, row in rows.items()
        if name not in config.seen_by_testers and not name.startswith("RM_APO-")
    ]
    testers = [rows[name] for name in config.seen_by_testers]
    base = [row for row in others if row.name == "RM_Base"]
    variants = [row for row in others if row.name != "RM_Base"]
    tables = [table_3([*reversed(testers), *base, *adapted])]
    if variants:
        tables.append(table_4([*base, *variants, *adapted]))
    return [*tables, _length_table(models)]


def match_rows(
    entries: tuple[Entry, ...], policies: Evaluations, judged: Verdicts
) -> list[MatchRow]:
    """Return each APO policy against the same method with the fixed reward model (Figure 3)."""
    rows = []
    for entry in entries:
        against = policies[entry.name]["against"]
        if entry.rival in against:
            verdicts = {**against[entry.rival], **judged.shares(entry.name, entry.rival)}
            rows.append(MatchRow(entry.name, entry.rival, verdicts))
    return rows


def policy_table(entries: tuple[Entry, ...], policies: Evaluations) -> Table:
    """Return KL, length, endings and the closed oracle gap of every contender."""
    columns = (
        Column("Model Name"),
        Column("KL to start, nats", ".3f"),
        Column("± s.e.", ".3f"),
        Column("tokens", ".1f"),
        Column("ended", ".1%"),
        Column("length–reward", ".2f"),
        Column("oracle gap closed", ".1%"),
        Column("95 % low", ".1%"),
        Column("95 % high", ".1%"),
    )
    rows = []
    for entry in entries:
        found = policies[entry.name]
        kl, gap = found.get("kl", {}), found.get("gap_closed") or {}
        interval = gap.get("interval") or {}
        rows.append(
            (
                entry.name,
                kl.get("value"),
                kl.get("standard_error"),
                None if entry.name == CHOSEN else found["habits"]["length"],
                None if entry.name == CHOSEN else found["habits"]["ended"],
                found["habits"]["length_reward_correlation"],
                gap.get("share"),
                interval.get("low"),
                interval.get("high"),
            )
        )
    note = "Oracle gap: (policy − start) / (best achievable − start), paired over prompts."
    return Table("policies", "Policies: distance, habits and oracle", columns, tuple(rows), note)


def game_table(states: Mapping[str, list[GameState]]) -> Table:
    """Return the state of the game: every player against the fresh samples of each epoch."""
    columns = (
        Column("Epoch"),
        Column("Reward model"),
        Column("Gold vs fresh", ".3f"),
        Column("± s.e.", ".3f"),
        Column("Margin", ".3f"),
        Column("Human pairs", ".3f"),
        Column("ECE drift", "+.3f"),
        Column("Longer is gold", ".2f"),
        Column("Gold vs fresh, same length", ".3f"),
        Column("pairs", ",d"),
        Column("Verdict"),
    )
    rows = [
        (
            state.epoch,
            role,
            state.gold_accuracy,
            state.gold_accuracy_se,
            state.margin,
            state.human_accuracy,
            state.ece_drift,
            state.longer_is_gold,
            state.matched_accuracy if state.matched_pairs else None,
            state.matched_pairs,
            state.verdict,
        )
        for role, found in states.items()
        for state in found
    ]
    rows.sort(key=lambda row: (row[0], ("base", "before", "adapted").index(row[1])))
    note = (
        "Fresh: samples of the policy at the start of the epoch on held-out gold prompts. base is "
        "RM_Base, before the reward model of the epoch before, adapted the one of this epoch. Same "
        "length: pairs whose lengths differ by at most a tenth."
    )
    return Table("game", "State of the game", columns, tuple(rows), note)


def _length_table(models: Evaluations) -> Table:
    columns = (
        Column("Reward model"),
        Column("T. Acc", ".3f"),
        Column("± s.e.", ".3f"),
        Column("longer wins", ".3f"),
        Column("T. Acc, lengths within 10 %", ".3f"),
        Column("pairs", ".0f"),
        Column("length–reward", ".2f"),
    )
    rows = []
    for name, sets in models.items():
        metrics = sets["test"]["figures"]
        rows.append(
            (
                name,
                metrics["accuracy"],
                metrics["accuracy_se"],
                metrics["longer_wins"],
                metrics["length_matched"] if metrics["length_matched_pairs"] else None,
                metrics["length_matched_pairs"],
                metrics["length_correlation"],
            )
        )
    note = "longer wins: the accuracy of always preferring the longer response."
    return Table("length", "Reward models beside length alone", columns, tuple(rows), note)
