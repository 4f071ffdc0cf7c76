"""The report of one TQR's diagnostics: tables, plots, what they say, and the heat-map's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tasks.evaluation.ava.reward_numbers import Beginning, RewardNumbers
from tasks.evaluation.metrics.estimates import share_interval
from tasks.evaluation.metrics.rank_correlation import RankCorrelation
from tasks.evaluation.report.document import Plot, Report, write_report
from tasks.evaluation.report.figure_style import COLOURS, GREY, new_figure, save_figure
from tasks.evaluation.report.heat_map import ShownPair, render_heat_map
from tasks.evaluation.report.tables import Column, Table
from tasks.models.tqr.config import TqrConfig
from tasks.storage.files import write_atomic

HEAT_MAP = "heat-map.html"
"""The page of real examples, beside the report."""
_TOKENS = {
    "seen": "the last token that the reward has seen, x[j], as the heat-map shows it",
    "next": "the token that comes next, which it rewards, x[j+1]",
}


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that was measured of one TQR."""

    numbers: RewardNumbers
    """Its rewards, position by position."""
    beginnings: Sequence[Beginning]
    """Its accuracy on beginnings, and on the whole."""
    correlations: Mapping[str, RankCorrelation]
    """With the oracle's penalties: `seen` and `next`; empty where there is no oracle."""
    groups: int
    """Groups looked at."""

    def metrics(self) -> dict[str, float]:
        """Return flat names and floats, ready to be logged; what is not known is left out."""
        numbers = self.numbers
        found: dict[str, float | None] = {
            "groups": float(self.groups),
            "positions": float(numbers.positions),
            "floored_share": numbers.floored,
            **{f"td_q{round(100 * level):02d}": size for level, size in numbers.td.items()},
            **{f"within_{round(k)}_std": share for k, share in numbers.within.items()},
        }
        for one in self.beginnings:
            found[f"beginning/{one.name}/accuracy"] = one.accuracy.value
            found[f"beginning/{one.name}/accuracy_se"] = one.accuracy.standard_error
            found[f"beginning/{one.name}/ties"] = one.ties
        for name, correlation in self.correlations.items():
            found[f"penalties/{name}"] = correlation.value
            found[f"penalties/{name}_control"] = correlation.control
        return {name: value for name, value in found.items() if value is not None}


def write_diagnosis(
    found: Findings,
    examples: Sequence[ShownPair],
    tqr: TqrConfig,
    own: str,
    gamma: float,
    output: Path,
) -> None:
    """Write report.md, report.json and report.html with tables and plots, and the heat-map.

    Args:
        found: What was measured.
        examples: Pairs for the heat-map.
        tqr: The model's settings.
        own: The score that is its own.
        gamma: Discount of the next Q in δ.
        output: Where the files go.
    """
    report = Report(
        title="Rewards of a TQR, looked at",
        facts={
            "pairs": f"{found.groups:,} groups, {found.numbers.positions:,} positions",
            "score": own,
            "Q values": tqr.q_map if tqr.ptq else "a head of their own",
            "reward weights": tqr.rwt_scale if tqr.rwt else "none",
            "discount γ": f"{gamma:g}",
        },
        findings=[*_sentences(found), f"{HEAT_MAP} shows the rewards of real examples."],
        tables=_tables(found),
        plots=[_std_plot(found.numbers, output), _beginnings_plot(found.beginnings, output)],
        numbers={
            "metrics": found.metrics(),
            "correlations": {name: asdict(one) for name, one in found.correlations.items()},
            "std": {"counts": found.numbers.std_counts, "edges": found.numbers.std_edges},
            "beginnings": [asdict(one) for one in found.beginnings],
            "examples": [asdict(pair) for pair in examples],
        },
    )
    write_report(report, output)
    write_atomic(output / HEAT_MAP, render_heat_map("Rewards of tokens", examples, _marks(found)))


def _marks(found: Findings) -> list[str]:
    return [_pointing(name, one) for name, one in found.correlations.items()]


def _sentences(found: Findings) -> list[str]:
    numbers = found.numbers
    sentences = _marks(found)
    one, expected = numbers.within[1.0], numbers.expected[1.0]
    if one is not None:
        # Positions of a group hang together: each group counts as one observation.
        ends = share_interval(one, found.groups)
        is_open = ends.low <= expected <= ends.high
        wrong = "too narrow" if one < expected else "too wide"
        word = f"not shown to be {wrong}" if is_open else wrong
        sentences.append(
            f"{one:.1%} of temporal-difference errors (95 %: {ends.low:.1%} to {ends.high:.1%}, a "
            "group as one observation) lie within one standard deviation of their reward, and "
            f"{expected:.1%} would of a Gaussian that is right: the spreads are {word}."
        )
    if numbers.floored is not None:
        sentences.append(
            f"{numbers.floored:.1%} of the worse responses' tokens are less likely than one drawn "
            "at random: the floor of AVA-p pushes them no further."
        )
    return sentences


def _pointing(name: str, one: RankCorrelation) -> str:
    """Say whether rewards tell penalised tokens from others of the same response."""
    beyond = "beyond" if one.points_at_tokens else "not beyond"
    return (
        f"Rank correlation of rewards with the oracle's penalties, by {_TOKENS[name]}: "
        f"{one.value:+.3f} over {one.tokens:,} tokens, positive where rewards are low on "
        f"penalties; shuffled within responses {one.control:+.3f} (95 %: {one.control_low:+.3f} to "
        f"{one.control_high:+.3f}), so {beyond} what whole responses explain."
    )


def _tables(found: Findings) -> list[Table]:
    numbers = found.numbers
    shares = tuple(Column(name, ".3f") for name in ("within", "share", "of a right Gaussian"))
    rows = tuple((f"{k:g} σ", numbers.within[k], numbers.expected[k]) for k in numbers.within)
    sizes = (Column("quantile"), Column("|δ|", ".4g"))
    levels = tuple((f"{level:.0%}", size) for level, size in numbers.td.items())
    columns = ("tokens shown", "accuracy", "± one standard error", "ties")
    beginnings = tuple(
        (one.name, one.accuracy.value, one.accuracy.standard_error, one.ties)
        for one in found.beginnings
    )
    tables = [
        Table("td", "Temporal-difference errors, reward units", sizes, levels),
        Table("calibration", "Errors within standard deviations of their reward", shares, rows),
        Table(
            "beginnings",
            "Accuracy on beginnings, each scored as a text of its own",
            tuple(Column(name, ".3f") for name in columns),
            beginnings,
            "A tie is wrong; two responses that begin alike are one.",
        ),
    ]
    if found.correlations:
        names = ("token", "rank correlation", "shuffled", "2.5 %", "97.5 %", "tokens")
        formats = ("", "+.3f", "+.3f", "+.3f", "+.3f", ",")
        spots = tuple(
            (name, one.value, one.control, one.control_low, one.control_high, one.tokens)
            for name, one in found.correlations.items()
        )
        header = tuple(map(Column, names, formats))
        note = "; ".join(f"{name}: {words}" for name, words in _TOKENS.items()) + "."
        tables.append(Table("penalties", "Rewards and the oracle's penalties", header, spots, note))
    return tables


def _std_plot(numbers: RewardNumbers, output: Path) -> Plot:
    edges, counts = numbers.std_edges, numbers.std_counts
    with new_figure({"σ": numbers}, panel=(5.2, 3.0), columns=1) as (figure, (axes,)):
        axes.stairs(counts, edges, fill=True, color=COLOURS[0])
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.axvline(1, color=GREY, linestyle=":", linewidth=1)
        axes.set(xlabel="standard deviation of the reward, weighted", ylabel="positions")
        rows = [
            {"low": low, "high": high, "positions": count}
            for low, high, count in zip(edges, edges[1:], counts, strict=False)
        ]
        files = save_figure(figure, output, "reward-std", rows)
    caption = "The prior's is 1. What the model clamps stands in the outermost bins."
    return Plot("How certain the rewards are", files, caption)


def _beginnings_plot(beginnings: Sequence[Beginning], output: Path) -> Plot:
    with new_figure({"accuracy": beginnings}, panel=(5.2, 3.0), columns=1) as (figure, (axes,)):
        axes.errorbar(
            [one.tokens for one in beginnings],
            [one.accuracy.value for one in beginnings],
            yerr=[1.96 * one.accuracy.standard_error for one in beginnings],
            color=COLOURS[0],
            marker="o",
            markersize=4,
            capsize=3,
        )
        axes.axhline(0.5, color=GREY, linestyle=":", linewidth=1)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set(xlabel="tokens shown of each response", ylabel="accuracy", ylim=(0, 1))
        rows = [
            {"shown": one.name, "tokens": one.tokens, **asdict(one.accuracy), "ties": one.ties}
            for one in beginnings
        ]
        files = save_figure(figure, output, "accuracy-by-length", rows)
    caption = "With 95 % intervals; the last point shows all of every response. Dotted: a coin."
    return Plot("Accuracy on beginnings", files, caption)
