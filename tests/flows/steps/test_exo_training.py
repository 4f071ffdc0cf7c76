"""What the branches of a sweep share, and what each of them is trained on."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.configs.exo import ExoConfig
from flows.exo import exo
from flows.placement.local_workers import LocalWorkers
from flows.steps.exo_inputs import SharedInputs, prepare_inputs
from flows.steps.exo_reward import Supervision
from flows.steps.exo_training import BranchTrainer, sample_and_score
from tasks.settings.loading import apply_overrides, load_config, validate
from tasks.stages.call import StageCall
from tasks.stages.runs.context import current_run
from tests.flows.steps.noted_calls import made, titles

SMALL = Path(__file__).parents[1] / "configs" / "exo-small.yaml"
INPUTS = SharedInputs(
    made("start"), made("train"), made("dev"), made("test"), [made("pairs")], {}, None
)
SUPERVISION = Supervision([made("pairs")], made("RM"), {}, made("RM"), {"RM": made("RM")})


def config(branches: str, *overrides: str) -> ExoConfig:
    wanted = (f"branches=[{branches}]", "ppo_search=null", *overrides)
    return validate(ExoConfig, apply_overrides(load_config(SMALL), wanted), "exo-small.yaml")


def test_samples_are_drawn_once_for_each_temperature(calls: list[StageCall]) -> None:
    settings = config(
        "{method: exo_rw, responses: [2, 4]}, {method: dpo_rw, responses: 3, temperatures: 0.5},"
        "{method: best_of_n, responses: [2, 8]}, {method: sft}"
    )
    samples = sample_and_score(settings, INPUTS, SUPERVISION)
    drawn = [call for call in calls if call.spec.name == "sample_responses"]
    assert [call.label for call in drawn] == ["train τ0.8 K4", "train τ0.5 K3", "test τ0.8 K8"]
    assert [call.inputs["queries"].digest for call in drawn] == ["train", "train", "test"]
    assert (list(samples.train), list(samples.test)) == ([0.8, 0.5], [0.8])


def test_pairs_alone_need_no_samples(calls: list[StageCall]) -> None:
    samples = sample_and_score(config("{method: dpo}, {method: sft}"), INPUTS, SUPERVISION)
    assert samples == ({}, {}) and calls == []


@pytest.mark.parametrize(
    ("branch", "groups", "has_reference"),
    [
        ("exo_rw", "samples", True),
        ("rrhf", "samples", False),
        ("rjs", "samples", False),
        ("dpo", "pairs", True),
        ("sft", "pairs", False),
        ("ava_p", "pairs", False),
        ("ava_d", "pairs", False),
    ],
)
def test_a_branch_learns_from_samples_or_pairs(
    calls: list[StageCall], branch: str, groups: str, has_reference: bool
) -> None:
    settings = config(f"{{method: {branch}}}")
    samples = sample_and_score(settings, INPUTS, SUPERVISION)
    run = current_run()
    trainer = BranchTrainer(settings, INPUTS, SUPERVISION, samples, LocalWorkers(run, 1, None))
    trainer.update_policy(settings.all_branches()[0])
    learnt = samples.train[0.8] if groups == "samples" else made("pairs")
    assert calls[-1].inputs["groups.0"].digest == learnt.digest
    assert ("reference_logps" in calls[-1].inputs) == has_reference
    is_tqr = branch.startswith("ava")
    assert calls[-1].spec.name == ("update_tqr" if is_tqr else "update_policy")
    if is_tqr:
        assert calls[-1].config["objective"] == branch and calls[-1].config["tqr"]["alpha"] == 1.25


def test_the_sweep_is_the_papers_steps_in_their_order(calls: list[StageCall]) -> None:
    exo.fn(config("{method: exo_rw, responses: 2}", "evaluation.density.samples=4"))
    first = list(dict.fromkeys(call.spec.name for call in calls))
    assert first == [
        "prepare_data",
        "initialise_policy",
        "examine_data",
        "update_policy",
        "update_reward_model",
        "evaluate_reward_model",
        "score_responses",
        "evaluate_policy",
        "sample_responses",
        "compute_reference_logps",
        "estimate_density_ratios",
        "write_exo_report",
    ]
    branch = [title for title in titles(calls) if title.endswith("EXO-rw K=2 β_π=0.5 β_r=0.1 s0")]
    assert [title.partition(" ")[0] for title in branch] == [
        "update_policy",
        "sample_responses",
        "evaluate_policy",
    ]


def test_each_policy_is_compared_with_the_optimum_of_its_own_coefficients(
    calls: list[StageCall],
) -> None:
    """β_π · β_r of a method on rewards, β alone of one on pairs, kl_coef of PPO; SFT's is the
    first branch's."""
    branches = (
        "{method: exo_rw, beta_pi: 0.5, beta_r: 0.2, responses: 2}, {method: dpo, beta_pi: 0.3},"
        "{method: exo_pref, beta_pi: 0.4}, {method: ppo, kl_coef: 0.7}, {method: sft}"
    )

    def betas(*overrides: str) -> dict[str, float]:
        calls.clear()
        exo.fn(config(branches, *overrides))
        (call,) = [one for one in calls if one.spec.name == "estimate_density_ratios"]
        return {name.split()[0]: beta for name, beta in call.config["betas"].items()}

    own = {"EXO-rw": 0.1, "DPO-pref": 0.3, "EXO-pref": 0.4, "PPO": 0.7, "SFT": 0.1}
    assert betas("evaluation.density.samples=4") == pytest.approx(own)
    assert set(betas("evaluation.density.beta=2").values()) == {2}


@pytest.mark.parametrize(
    ("oracle", "inputs"),
    [
        ("null", ["labelled", "held_out"]),
        ("base", ["labelled", "held_out", "source"]),
        ("model", ["source"]),
    ],
)
def test_the_oracle_is_trained_on_labelled_texts_or_taken_over(
    calls: list[StageCall], tmp_path: Path, oracle: str, inputs: list[str]
) -> None:
    """By the same stage; a finished one is measured where there are labelled texts."""
    file, folder = tmp_path / "texts.jsonl", tmp_path / "classifier"
    file.write_text("{}")
    folder.mkdir()
    parts = ["corpus", "prompts"] + ([] if oracle == "model" else ["labelled", "held_out"])
    texts = ", ".join(f"{part}: [{{path: {file}}}]" for part in parts)
    settings = [] if oracle == "null" else [f"oracle.{oracle}={folder}"]
    asked = config("{method: dpo}", "data=null", f"texts={{{texts}}}", *settings)
    found = prepare_inputs(asked)
    (call,) = [one for one in calls if one.spec.name == "train_classifier"]
    assert found.oracle is not None and sorted(call.inputs) == sorted(inputs)
