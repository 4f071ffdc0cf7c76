"""The flow `exo` end to end, through the command line: seven methods, one frontier."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.data.files import read_groups
from tasks.evaluation.metrics.best_of_n import best_of_n_kl
from tasks.stages.manifest import Manifest, list_manifests
from tasks.stages.runs.aliases import CANDIDATE, CHAMPION, current_alias, move_alias
from tests.databases import Databases
from tests.flows.command import Shell, sets
from tests.flows.judging import PROMPTS, judged_copy

SMALL = Path(__file__).parent / "configs" / "exo-small.yaml"
WIDE = ("exo", "-c", str(SMALL))
"""With two seeds too."""
PLAIN = (
    *WIDE,
    *sets(
        "branches=[{method: exo_rw, beta_pi: 0.5, beta_r: 0.5, responses: [2, 4]}, "
        "{method: dpo_rw, beta_pi: 0.5, beta_r: 0.5, responses: 4}, {method: exo_pref}, "
        "{method: dpo, beta_pi: [0.1, 0.5]}, {method: ppo}, {method: sft}, "
        "{method: best_of_n, responses: [2, 4]}]"
    ),
)
FEW = (
    *WIDE,
    *sets("branches=[{method: exo_pref}, {method: ppo}, {method: best_of_n, responses: [2, 4]}]"),
)
RUN = ("run", *PLAIN)
BRANCHES = (
    "EXO-rw K=2 β_π=0.5 β_r=0.5 s0",
    "EXO-rw K=4 β_π=0.5 β_r=0.5 s0",
    "DPO-rw K=4 β_π=0.5 β_r=0.5 s0",
    "EXO-pref β_π=0.5 ε=0.001 s0",
    "DPO-pref β=0.1 s0",
    "DPO-pref β=0.5 s0",
    "PPO s0",
    "SFT on chosen s0",
)


@pytest.fixture(scope="module")
def done(
    prefect_server: str, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Shell:
    """A folder in which every method has run to the report, two branches at a time."""
    served = {"PREFECT_API_URL": prefect_server}
    shell = Shell(tmp_path_factory.mktemp("exo"), variables=served)
    databases.copy("mlflow", shell.folder / "mlruns")
    (shell.folder / "output.txt").write_text(shell(*RUN).stdout, encoding="utf-8")
    return shell


def made(shell: Shell, stage: str) -> dict[str, Manifest]:
    return {one.label: one for one in list_manifests(shell.home, stage)}


def report_of(shell: Shell) -> Path:
    (one,) = list_manifests(shell.home, "write_exo_report")
    return one.folder(shell.home)


def test_every_method_is_on_one_frontier(done: Shell) -> None:
    folder = report_of(done)
    for name in ("figure-2", "figure-3", "figure-6", "figure-7", "figure-8", "figure-9"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG"), name
        assert (folder / f"{name}.svg").stat().st_size > 0
        assert len((folder / f"{name}.csv").read_text().splitlines()) > 1
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert len(report["examples"]) == 8
    text = (folder / "report.md").read_text(encoding="utf-8")
    for line in ("EXO-rw K=4", "DPO-rw K=4", "EXO-pref", "DPO-pref", "PPO", "Best-of-N"):
        assert line in text
    drawn = (folder / "figure-2.csv").read_text()
    for line in ("EXO-rw", "DPO-rw", "EXO-pref", "DPO-pref", "PPO", "SFT on chosen", "Best-of-N"):
        assert line in drawn


def test_what_the_report_prints_is_accepted_behind_the_run(done: Shell) -> None:
    """Every contender of the summary; where a line has several seeds, they are named."""
    report = json.loads((report_of(done) / "report.json").read_text(encoding="utf-8"))
    names = [row[0] for row in report["tables"]["summary"]["rows"]]
    assert "start" in names and len(names) == len(BRANCHES) + 1
    for name in names:
        shown = json.loads(done("show", f"latest/{name}", "--json").stdout)
        assert shown["provenance"]["produces"] == "policy", name
    assert "its models are" in done.refusal("show", "latest/dqo")


def test_each_snapshot_is_measured_on_one_set_of_samples(done: Shell) -> None:
    evaluations = made(done, "evaluate_policy")
    samples = made(done, "sample_responses")
    for branch in BRANCHES:
        for name, prompts in ((branch, 12), (f"{branch} 1/2", 8)):
            groups = list(read_groups(samples[name].folder(done.home)))
            assert len(groups) == prompts and {len(one.responses) for one in groups} == {2}
            found = json.loads(
                (evaluations[name].folder(done.home) / "evaluation.json").read_text()
            )
            assert set(found["scores"]) == {"oracle", "RM"}
            assert found["queries"] == prompts and "kl" in found
            assert set(found["against"]) == {"start", "chosen"}


def test_branches_share_what_they_can(done: Shell) -> None:
    """π_sft's log-probabilities: of samples for K = 2 and 4, of pairs for both methods of pairs."""
    assert len(list_manifests(done.home, "compute_reference_logps")) == 3
    assert len(list_manifests(done.home, "update_reward_model")) == 1
    trained = made(done, "update_policy")
    assert {label for label in trained if label != "SFT"} == set(BRANCHES) - {"PPO s0"}
    digests = {one.digest for one in trained.values()}
    assert len(digests) == len(trained), "another method, K or coefficient is another policy"


@pytest.mark.parametrize(
    ("words", "branches"),
    [(FEW, (BRANCHES[3], BRANCHES[6])), pytest.param(PLAIN, BRANCHES, marks=pytest.mark.slow)],
)
def test_a_judge_is_asked_about_last_policies_against_start_and_chosen(
    words: tuple[str, ...], branches: tuple[str, ...], done: Shell, tmp_path: Path
) -> None:
    copy, matches = judged_copy(done, tmp_path / "judged", *words)
    contenders = (*branches, "Best-of-N N=2 s0", "Best-of-N N=4 s0")
    assert set(matches) == {
        *(f"{ours} vs {theirs}" for ours in contenders for theirs in ("start", "chosen")),
        "chosen vs rejected",
    }
    assert {one.metrics["asked"] for one in matches.values()} == {PROMPTS}
    newest = max(
        (one.folder(copy.home) for one in list_manifests(copy.home, "write_exo_report")),
        key=lambda folder: folder.stat().st_mtime,
    )
    rows = json.loads((newest / "report.json").read_text())["tables"]["judge"]["rows"]
    assert {row[0] for row in rows} == set(matches)


@pytest.mark.slow
def test_another_seed_is_another_policy(done: Shell, tmp_path: Path) -> None:
    shutil.copytree(done.folder, tmp_path / "wider", symlinks=True)
    wider = Shell(tmp_path / "wider")
    wider("run", *WIDE)
    assert len(list_manifests(wider.home, "compute_reference_logps")) == 3
    trained = made(wider, "update_policy")
    new = {"DPO-rw K=4 β_π=0.5 β_r=0.5 s1"}
    assert set(trained) == set(made(done, "update_policy")) | new
    assert len({one.digest for one in trained.values()}) == len(trained)


def test_the_best_of_n_has_the_analytic_kl(done: Shell) -> None:
    picked = made(done, "pick_best_of_n")
    assert picked["Best-of-N N=4 s0"].metrics["kl"] == pytest.approx(best_of_n_kl(4))
    assert picked["Best-of-N N=4 s0"].metrics["responses"] == 12
    assert picked["Best-of-N N=2 s0"].metrics["responses"] == 24


def test_again_everything_is_done_and_the_plan_says_so(done: Shell) -> None:
    plan = done.json("plan", *PLAIN)
    assert {one["state"] for one in plan} == {"done"}
    wider = done.json(
        "plan", "exo", "-c", str(SMALL), *sets("branches=[{method: dpo, beta_pi: [0.1, 0.5, 1.0]}]")
    )
    states = {f"{one['stage']} {one['label']}": one["state"] for one in wider}
    assert states["update_policy DPO-pref β=0.1 s0"] == "done"
    assert states["update_policy DPO-pref β=1 s0"] == "to run"


def test_ppo_is_tuned_on_dev_prompts_first(done: Shell) -> None:
    """The settings with the most reward − kl_coef · KL on dev train the branch."""
    trained, evaluations = made(done, "update_policy_by_ppo"), made(done, "evaluate_policy")
    samples = made(done, "sample_responses")
    trials = [f"ppo trial {number}/2" for number in (1, 2)]
    worth = {}
    for name in trials:
        assert samples[name].metrics["queries"] == 6
        rate = trained[name].config["actor_learning_rate"]
        figures = evaluations[name].metrics
        worth[rate] = figures["score/reward"] - trained[name].config["kl_coef"] * figures["kl"]
    assert set(worth) == {1e-4, 1e-3}
    assert trained["PPO s0"].config["actor_learning_rate"] == max(worth, key=worth.__getitem__)


@pytest.mark.slow
def test_side_by_side_changes_no_byte(done: Shell, tmp_path: Path) -> None:
    """A branch alone, in the flow's own process, gives the policy it gave in a local worker."""
    alone = Shell(tmp_path)
    shutil.copytree(done.folder / "data", tmp_path / "data")
    branches = "branches=[{method: ppo}, {method: dpo, beta_pi: 0.1}]"
    alone("run", *WIDE, *sets("placement.side_by_side=1", branches, "evaluation.density=null"))
    for stage, branch in (
        ("update_policy_by_ppo", "PPO s0"),
        ("update_policy", "DPO-pref β=0.1 s0"),
    ):
        assert made(alone, stage)[branch].digest == made(done, stage)[branch].digest


def test_a_run_offers_its_best_checkpoint_and_the_gate_judges_it(done: Shell) -> None:
    record = current_alias(done.home, "exo", CANDIDATE)
    assert record is not None and set(record.models) == {"policy", "reward_model"}
    made_by = {f"{one.stage}/{one.key}": one for one in list_manifests(done.home)}
    best = made_by[record.models["policy"]].label
    scores = {
        branch: evaluation.metrics["score/oracle"]
        for branch, evaluation in made(done, "evaluate_policy").items()
        if branch in BRANCHES
    }
    assert scores[best] == max(scores.values())
    refused = done("promote", "--flow", "exo", "--set", "gate.min_win_rate=0.99", code=3)
    assert "win rate" in refused.stdout + refused.stderr


def test_the_next_candidate_is_held_against_the_champion(done: Shell) -> None:
    record = current_alias(done.home, "exo", CANDIDATE)
    assert record is not None
    (other,) = (
        one for label, one in made(done, "update_policy").items() if label == "SFT on chosen s0"
    )
    models = record.models | {"policy": f"{other.stage}/{other.key}"}
    move_alias(done.home, replace(record, alias=CHAMPION, number=0, models=models))
    low = ("gate.min_win_rate=0.01", "gate.max_ece=1.0", "gate.min_judge_accuracy=null")
    words = ("--flow", "exo", *sets(*low))
    done("promote", *words, "--dry-run")
    assert CHAMPION in made(done, "evaluate_policy")
