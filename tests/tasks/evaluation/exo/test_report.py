"""The report of an EXO run on made-up evaluations whose answers are known."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from tasks.evaluation.exo.comparisons import main_series
from tasks.evaluation.exo.config import ExoEntry
from tasks.evaluation.exo.points import frontier_points, shares_against
from tasks.evaluation.exo.report import assemble_exo_report
from tasks.evaluation.exo.run import ExoRun
from tasks.evaluation.exo.series import series_of
from tasks.evaluation.exo.sweeps import sweeps_of
from tasks.evaluation.exo.tables import duel_table, reward_model_table
from tasks.settings.errors import ConfigError
from tasks.settings.log import NullLog
from tasks.storage.files import read_json, write_json
from tests.tasks.evaluation.exo.evaluations import FACTS, Made, made_density, made_run, root
from tests.tasks.training.conftest import RecordingLog

RIGHT = {"accuracy_se": 0.04, "accuracy_pairs": 117.0, "longer_wins": 0.55}
LAST = ("exo_pref-beta_pi0.1-seed0-step40", "dpo-beta_pi0.1-seed0-step40")


@pytest.fixture(scope="module")
def made() -> Made:
    return made_run()


@pytest.fixture(scope="module")
def report(made: Made, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    folder = tmp_path_factory.mktemp("report")
    paths, density = made.save(folder), made_density(folder / "density", LAST)
    models = {"RM": folder / "RM"}
    models["RM"].mkdir()
    pairs = {"figures": {"accuracy": 0.75, "ece": 0.05} | RIGHT}
    write_json(models["RM"] / "evaluation.json", {"test": pairs})
    output = folder / "output"
    output.mkdir()
    config = made.config(facts={"data": "made up"}, bootstrap_samples=200)
    return output, assemble_exo_report(paths, models, density, None, config, output, NullLog())


def test_all_files_are_written(report: tuple[Path, dict[str, float]]) -> None:
    names = {path.name for path in report[0].iterdir()}
    plots = [*(f"figure-{number}" for number in "236789"), "score", "reward-by-kl"]
    figures = {f"{name}.{kind}" for name in plots for kind in ("png", "svg", "csv")}
    keys = (
        "summary win-rates duels last-checkpoints equal-kl reward-at-kl density-ratio reward-models"
        " settings"
    ).split()
    tables = {f"{key}.csv" for key in keys}
    assert names == figures | tables | {"report.md", "report.html", "report.json"}


def test_findings_say_what_the_made_frontiers_hold(report: tuple[Path, dict[str, float]]) -> None:
    kept = read_json(report[0] / "report.json")
    assert kept["headline"].startswith("undecided: EXO-rw K=8 leads by"), kept["headline"]
    assert "over EXO-rw K=4, at KL" in kept["headline"]
    assert "Best-of-N" not in {row[0] for row in kept["tables"]["summary"]["rows"]}
    said = "\n".join(kept["findings"])
    for head, words in (
        ("EXO-pref β_π=0.1 against DPO-pref", "EXO-pref is ahead"),
        ("EXO-rw K=4 against DPO-rw K=4", "EXO-rw is ahead"),
        ("EXO-rw K=8 against DPO-rw K=8", "EXO-rw is ahead"),
        ("EXO-rw K=8 against EXO-rw K=4", "undecided"),
        ("DPO-rw K=8 against DPO-rw K=4", "more responses hurt"),
        ("PPO against EXO-rw K=4", "PPO is behind"),
        ("PPO, seed 2: oracle reward falls from step 30 to 40", "over-optimised"),
        (
            "RM knows more than length: right on 75.0% of 117 held-out pairs",
            "length alone on 55.0%",
        ),
        ("on the frontier lie ", "as much mean oracle reward at no more KL to the start"),
    ):
        (sentence,) = [one for one in kept["findings"] if one.startswith(head)]
        assert words in sentence, said
    assert kept["facts"]["test prompts"] == "40 distinct, 4 answers each"
    fits = [one for one in kept["findings"] if one.startswith("density ratio over 8 prompts")]
    assert len(fits) == 1 and "EXO-pref β_π=0.1 is nearer" in fits[0], said


def test_headlines_are_flat_and_finite(made: Made, report: tuple[Path, dict[str, float]]) -> None:
    flat = report[1]
    assert flat["EXO-rw K=4/kl"] == pytest.approx(4.6 * 1.02, abs=0.1)
    assert flat["EXO-rw K=4/reward"] == pytest.approx(2.1 * 4.6**0.5 + 0.05, abs=0.5)
    assert flat["equal_kl/EXO-pref β_π=0.1 vs DPO-pref/difference"] > 0.4
    assert all(isinstance(value, float) for value in flat.values())


def test_the_frontiers_numbers_stand_beside_it(
    made: Made, report: tuple[Path, dict[str, float]]
) -> None:
    rows = list(csv.DictReader((report[0] / "figure-2.csv").open()))
    contenders = len(made.entries) - 1  # the chosen responses have no KL
    assert len(rows) == 2 * contenders
    best = {row["name"]: row for row in rows if row["judge"] == "oracle"}["best-of-128"]
    assert float(best["kl"]) == pytest.approx(3.860, abs=1e-3)
    assert float(best["kl_se"]) == 0
    start = next(row for row in rows if row["line"] == "start")
    assert (float(start["kl"]), start["undominated"]) == (0, "0")


def test_examples_show_start_chosen_and_one_of_each_family(
    report: tuple[Path, dict[str, float]],
) -> None:
    examples = read_json(report[0] / "report.json")["examples"]
    assert len(examples) == 3
    assert set(examples[0]["outputs"]) >= {"start", "chosen", "EXO-pref β_π=0.1", "Best-of-N"}
    assert "EXO-pref β_π=0.5" not in examples[0]["outputs"]
    page = (report[0] / "report.html").read_text()
    assert "ask <b>" not in page and "ask &lt;b&gt;0" in page


def test_the_sweep_has_its_coefficients(made: Made) -> None:
    rivals = made.entries[:2]
    sweeps = sweeps_of(series_of(made.entries, FACTS), rivals, made.evaluations, "RM")
    assert list(sweeps) == ["EXO-pref: β_π"]
    assert sorted(sweeps["EXO-pref: β_π"]) == [0.05, 0.1, 0.5]
    assert set(sweeps["EXO-pref: β_π"][0.1]) == {"start", "chosen"}


def test_main_series_are_the_first_of_each_family(made: Made) -> None:
    names = [series.name for series in main_series(series_of(made.entries, FACTS))]
    assert names[:3] == ["EXO-pref β_π=0.1", "EXO-rw K=4", "EXO-rw K=8"]


def test_win_rates_of_seeds_by_hand() -> None:
    """Seed 0 wins 3 of 4 and 1 of 1, seed 1 none: 7/8 and 0 make 7/16."""
    made = Made([ExoEntry(name="start", kind="start")])
    made.entries += [ExoEntry(name=f"s{seed}", method="dpo", seed=seed) for seed in (0, 1)]
    scores: dict[str, dict[str, list[float]]] = {
        "start": {"p": [0.0, 2.0], "q": [0.0]},
        "s0": {"p": [1.0, 3.0], "q": [1.0]},
        "s1": {"p": [-1.0], "q": [-1.0], "elsewhere": [9.0]},
    }
    for name, rows in scores.items():
        per_prompt = {key: {"scores": {"RM": row}} for key, row in rows.items()}
        made.evaluations[name] = {"scores": {"RM": {}}, "per_prompt": per_prompt}
    shares = shares_against(made.entries[1:], made.entries[0], made.evaluations, "RM")
    assert shares.win.value == pytest.approx(7 / 16)
    assert shares.lose.value == pytest.approx((1 / 8 + 1) / 2)
    assert shares.win.count == 2


def test_methods_meet_under_every_judge() -> None:
    """Seed 0 wins 3 of 4, seed 1 none of 4 against the same one: 3/8 won and 5/8 lost.

    Under the second judge the same texts all tie.
    """
    made = Made([ExoEntry(name="start", kind="start")])
    made.entries += [ExoEntry(name=f"d{seed}", method="dpo", seed=seed) for seed in (0, 1)]
    made.entries += [
        ExoEntry(name="p0", method="ppo"),
        ExoEntry(name="b", kind="best_of_n", method="best_of_n", responses=2),
    ]
    rows = {"start": [0.0], "d0": [1.0, 3.0], "d1": [-1.0, -1.0], "p0": [0.0, 2.0], "b": [9.0]}
    for name, row in rows.items():
        scores = {"oracle": row, "RM": [0.0] * len(row)}
        made.evaluations[name] = {
            "scores": dict.fromkeys(scores, {}),
            "per_prompt": {"p": {"scores": scores}},
        }
    table = duel_table(series_of(made.entries, FACTS), made.evaluations, ("oracle", "RM"))
    assert table is not None
    cells = {row[0]: row[1:] for row in table.rows}
    assert list(cells) == ["DPO-pref vs PPO", "DPO-pref vs Best-of-N", "PPO vs Best-of-N"]
    win, lose = (
        float(cells["DPO-pref vs PPO"][0].split(mark)[i].split()[0])
        for mark, i in ((" ±", 0), ("/ ", 1))
    )
    assert (win, lose) == (37.5, 62.5)
    assert (
        cells["PPO vs Best-of-N"][0].startswith("0.0") and "/ 100.0" in cells["PPO vs Best-of-N"][0]
    )
    assert all(row[1].startswith("0.0") and row[1].endswith("/ 0.0") for row in cells.values())
    assert duel_table(series_of(made.entries[:3], FACTS), made.evaluations, ("RM",)) is None


def _small() -> Made:
    made = Made()
    made.add(ExoEntry(name="start", kind="start"), 0.0)
    made.branch("dpo", root(1.0), (0.5, 1.0), seeds=1)
    return made


def _damaged(change: str) -> Made:
    made = _small()
    if change == "evaluation":
        del made.evaluations["dpo-seed0-step10"]
    elif change == "kl":
        del made.evaluations["dpo-seed0-step10"]["kl"]
    else:
        del made.evaluations["dpo-seed0-step10"]["scores"]["oracle"]
    return made


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("evaluation", "'dpo-seed0-step10' has no evaluation; did you mean"),
        ("kl", "'dpo-seed0-step10' has no KL: evaluate_policy needs"),
        ("judge", "has no scores of 'oracle'.* known: RM"),
    ],
)
def test_what_is_missing_is_named(change: str, message: str) -> None:
    made = _damaged(change)
    with pytest.raises(ConfigError, match=message):
        ExoRun(made.evaluations, {}, None, made.config())


def test_a_run_of_one_method_is_reported(tmp_path: Path) -> None:
    """One series, no chosen responses, no reward model, no density: less to say, and no error."""
    made = _small()
    output = tmp_path / "output"
    output.mkdir()
    config = made.config(bootstrap_samples=50).model_copy(update={"reward_model": None})
    write_json(tmp_path / "examined" / "examination.json", {"sentence": "data: all of it"})
    examined = tmp_path / "examined"
    assemble_exo_report(made.save(tmp_path), {}, None, examined, config, output, NullLog())
    kept: dict[str, Any] = read_json(output / "report.json")
    assert [plot["title"][:8] for plot in kept["plots"]] == ["Figure 2", "Figure 7", "Figure 8"]
    assert "equal-kl" not in kept["tables"]
    assert kept["findings"][0] == "data: all of it" and len(kept["findings"]) > 1


def test_a_judge_at_chance_and_unfinished_answers_are_said_in_findings_and_headline(
    tmp_path: Path,
) -> None:
    """The newcomer's run: gibberish, praised by a reward model that is right on 28 of 53 pairs."""
    made = _small()
    for found in made.evaluations.values():
        found["habits"] = {"ended": 0.04}
    right = {"accuracy": 28 / 53, "accuracy_se": 0.069, "accuracy_pairs": 53.0, "ece": 0.2}
    pairs = {"test": {"figures": right | {"longer_wins": 0.6}}}
    write_json(tmp_path / "RM" / "evaluation.json", pairs)
    output = tmp_path / "output"
    output.mkdir()
    config = made.config(bootstrap_samples=50, judge="RM")
    log = RecordingLog()
    models = {"RM": tmp_path / "RM"}
    assemble_exo_report(made.save(tmp_path), models, None, None, config, output, log)
    kept = read_json(output / "report.json")
    doubt = "RM is not shown to judge better than a coin: right on 52.8% of 53 held-out pairs"
    assert kept["headline"].startswith("undecided: DPO-pref leads by")
    assert f". But {doubt}" in kept["headline"]
    assert kept["findings"][0].startswith(doubt) and kept["findings"] == log.notes
    assert "before they end, 96% of start's, 96% of DPO-pref's: judges score" in kept["findings"][1]
    assert "raise it" in kept["findings"][1] and "sampling.max_new_tokens" in kept["findings"][1]


def test_points_cover_the_prompts_that_anybody_was_asked() -> None:
    made = _small()
    made.add(ExoEntry(name="few", method="dpo", step=5, is_last=False), 0.5, 0.3, prompts=10)
    all_series = series_of(made.entries, FACTS)
    points, start = frontier_points(all_series, made.entries[0], made.evaluations, "oracle")
    assert len(start.rewards) == 40
    few = next(point for point in points if point.name == "few")
    assert (few.rewards == few.rewards).sum() == (few.log_ratios == few.log_ratios).sum() == 10


def test_pairs_that_the_reward_model_has_seen_are_marked() -> None:
    measured = {name: {"figures": {"accuracy": 0.75, "ece": 0.1}} for name in ("dev", "test")}
    table = reward_model_table({"RM": measured}, ["dev"])
    assert [row[1] for row in table.rows] == ["dev (seen)", "test"]
