"""What a configuration of the flow `exo` may say, and what is refused with the key's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.configs.exo import ExoConfig
from flows.configs.exo_evaluation import PpoSearch
from tasks.evaluation.exo.config import ExoEntry, MethodFacts
from tasks.evaluation.exo.series import series_of
from tasks.settings.errors import ConfigError
from tasks.settings.loading import apply_overrides, load_config, validate
from tasks.stages.runs.run_names import called
from tasks.training.methods.method import RESPONSES
from tasks.training.methods.registry import METHODS
from tasks.training.ppo.config import PpoConfig

SMALL = Path(__file__).parents[1] / "configs" / "exo-small.yaml"


def config(*overrides: str) -> ExoConfig:
    return validate(ExoConfig, apply_overrides(load_config(SMALL), overrides), "exo-small.yaml")


def labels(*overrides: str) -> list[str]:
    found = config(*overrides)
    return [branch.label(found.temperature) for branch in found.all_branches()]


def test_a_sweep_is_every_combination_in_its_order() -> None:
    sweep = "{method: exo_rw, beta_pi: [0.1, 0.5], responses: [2, 4], seeds: [0, 1]}"
    assert labels(f"branches=[{sweep}]") == [
        f"EXO-rw K={k} β_π={beta} β_r=0.1 s{seed}"
        for beta in ("0.1", "0.5")
        for k in (2, 4)
        for seed in (0, 1)
    ]


@pytest.mark.parametrize(
    "branches",
    [
        "{method: exo_rw, responses: [2, 4], beta_pi: [0.1, 0.5], beta_r: [0.1, 0.5]}",
        "{method: exo_pref, epsilon: [0.001, 0.01]}, {method: dpo, temperatures: [0.8, 0.5]}",
        "{method: ppo, kl_coef: [0.1, 0.2]}, {method: sft}, {method: exo_rw, seeds: [0, 1]}",
    ],
)
def test_the_reports_name_of_a_series_means_its_branches(branches: str) -> None:
    """What a report prints is accepted behind `RUN/`: its words are those of these branches."""
    found = config(f"branches=[{branches}]")
    entries = [
        ExoEntry(
            name=one.label(found.temperature),
            method=one.method,
            coefficients={key: x for key, x in one.coefficients.items() if key != RESPONSES},
            responses=one.responses,
            temperature=one.temperature,
            seed=one.seed,
        )
        for one in found.all_branches()
    ]
    start = ExoEntry(name="start", kind="start", temperature=found.temperature)
    facts = {
        name: MethodFacts.model_validate(method, from_attributes=True)
        for name, method in METHODS.items()
    }
    for series in series_of([start, *entries], facts):
        titles = {one.name: f"update_policy/{one.name}" for one in entries}
        assert called(series.name, titles) == [one.name for one in series.entries]


def test_a_built_architecture_needs_a_corpus() -> None:
    """A model from elsewhere needs none: it learns to continue the prompts."""
    texts = [{"path": "texts.jsonl"}]
    given = {"texts": {"prompts": texts, "labelled": texts}, "branches": [{"method": "sft"}]}
    ExoConfig.model_validate(given | {"model": {"path": "model"}})
    small = config().model.model_dump()
    with pytest.raises(ValueError, match="learns its language from texts.corpus"):
        ExoConfig.model_validate(given | {"model": small})


def test_what_a_branch_does_not_name_is_the_runs() -> None:
    wanted = [
        "branches=[{method: exo_pref, epsilon: 0.01}, {method: sft, temperatures: 0.5}]",
        "seed=3",
    ]
    assert labels(*wanted) == ["EXO-pref β_π=0.5 ε=0.01 s3", "SFT on chosen τ=0.5 s3"]
    found = config(*wanted)
    assert found.temperatures() == [0.8, 0.5]
    update = found.all_branches()[0].update(found.shared_update())
    assert (update.method, update.temperature) == ("exo_pref", 0.8)
    assert update.training == found.training
    # The best of a pair is the chosen response.
    assert found.all_branches()[1].update(found.shared_update()).method == "rjs"


def test_every_method_is_a_branch_by_any_of_its_names() -> None:
    """What a method has to be swept is said at the method, so a new one needs no line here."""
    for name, method in METHODS.items():
        (branch,) = config(f"branches=[{{method: {name}}}]").all_branches()
        assert branch.method == name
        for alias in method.aliases:
            assert config(f"branches=[{{method: {alias}}}]").all_branches() == [branch]
    assert labels("branches=[{method: raft}, {method: rrhf, seeds: 1}]") == ["RJS s0", "RRHF s1"]


def test_methods_picks_branches_and_adds_the_usual_one_of_a_method_without() -> None:
    branches = "branches=[{method: exo_rw, beta_r: [0.1, 0.5]}, {method: ppo}, {method: sft}]"
    assert labels(branches, "methods=[sft, exo-rw]") == [
        "SFT on chosen s0",
        "EXO-rw K=4 β_π=0.5 β_r=0.1 s0",
        "EXO-rw K=4 β_π=0.5 β_r=0.5 s0",
    ]
    assert labels(branches, "methods=raft") == labels("branches=[{method: rjs}]")
    assert labels(branches, "methods=[]") == labels(branches)


def test_a_form_lets_the_coefficients_through() -> None:
    """Prefect checks a deployment's parameters by this schema."""
    sweep = ExoConfig.model_json_schema()["$defs"]["SweepConfig"]
    assert sweep["additionalProperties"] is not False
    kept = config("branches=[{method: exo_rw, beta_r: [0.1, 0.5]}]").model_dump(mode="json")
    assert kept["branches"][0]["beta_r"] == [0.1, 0.5]


def test_a_configuration_that_was_written_down_is_read_back() -> None:
    """As `resume`, a scheduled run and the gate do."""
    found = config("branches=[{method: ppo, kl_coef: 0.3}, {method: exo_rw, responses: [2, 4]}]")
    again = ExoConfig.model_validate(found.model_dump(mode="json"))
    assert again == found and again.all_branches() == found.all_branches()


def test_ppo_reads_and_draws_as_the_run_does() -> None:
    found = config("branches=[{method: ppo, kl_coef: 0.3}]")
    (branch,) = found.all_branches()
    settings = found.ppo_of(branch.temperature, None, branch.settings())
    assert (settings.temperature, settings.template, settings.kl_coef) == (0.8, "plain", 0.3)
    assert settings.limits.max_response_tokens == found.sampling.max_new_tokens
    assert settings.snapshots == found.training.snapshots


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("branches=[]", "branches"),
        ("branches=[{method: exo_rv}]", "exo_rw"),
        ("methods=[exo_rv]", "methods.0: got 'exo_rv'.*did you mean 'exo_rw'"),
        ("branches=[{method: dpo, beta_r: 0.1}]", "dpo has no beta_r; its coefficients: beta_pi"),
        ("branches=[{method: exo_pref, epsilon: 0.5}]", "epsilon is 0.5: .* less than 0.5"),
        ("branches=[{method: exo_pref, epsilon: 0}]", "epsilon"),
        (
            "branches=[{method: exo_pref, epsilom: 0.1}]",
            "no epsilom; its .*, epsilon",
        ),
        ("branches=[{method: sft, seed: 1}]", "sft has no seed; .*: none; further keys: .*, seeds"),
        ("branches=[{method: exo_rw, responses: 2.5}]", "responses is 2.5: .* valid integer"),
        ("branches=[{method: ppo, kl_coef: -0.1}]", "kl_coef is -0.1"),
        ("branches=[{method: best_of_n, responses: 0}]", "responses is 0"),
        ("branches=[{method: exo_rw, beta_pi: -1}]", "beta_pi"),
        ("branches=[{method: exo_rw, beta_r: 0}]", "beta_r"),
        ("branches=[{method: exo_rw, responses: 1}]", "responses"),
        ("branches=[{method: exo_rw, responses: 8}]", "K = 8 samples per prompt, .* is 4: raise"),
        ("branches=[{method: sft}, {method: sft}]", "the branch 'SFT on chosen s0' is there twice"),
        ("branches=[{method: best_of_n, training: {}}]", "best_of_n does not read `training`"),
        ("supervision=preferences", "best_of_n needs rewards, and supervision is preferences"),
        ("reward.objective=apo_rm", "learns from preferences alone"),
        ("sampling.top_k=5", "top_k and top_p cut the distribution"),
        ("sampling.temperature=0.5", "sampling.temperature is 0.5 and temperature 0.8"),
        ("sampling.max_new_tokens=300", "max_response_tokens is 128"),
        (
            "branches=[{method: ava_p, lam: 2}]",
            "AVA-p λ=2 cannot be trained so: lam is 2 and c_kl",
        ),
        ("branches=[{method: ava_p, b_neg: -1}]", "AVA-p b_neg=-1 cannot .* than or equal"),
        ("branches=[{method: ava_d, c_cer: 1}]", "ava_d has no c_cer; its coefficients: c_kl, lam"),
        ("data=null", "either `data` .* or `texts`"),
        ("gate={tester: RM_Test}", "gate.tester is .RM_Test., no judge of this run.* oracle, RM"),
        ("ppo_search={trials: 3}", "name the values of at least one knob"),
        ("placement.side_by_side=0", "side_by_side"),
        ("evaluation.density.beta=0", "density.beta"),
        ("oracle={base: folder}", "oracle.base is fine-tuned on texts.labelled, and there are"),
        ("oracle={model: folder}", "the playground knows its true reward: leave oracle.model out"),
        ("oracle={base: folder, model: other}", "not both"),
        ("limits.max_tokens=100", "max_tokens is a limit of models that score"),
    ],
)
def test_a_wrong_key_is_named(override: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        config(override)


AVA = "branches=[{method: ava_p}, {method: ava_d}]"


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (("tqr.ptq=false",), "tqr.ptq is false, and AVA-p trains a policy"),
        (("tqr.alpha=2",), "tqr.alpha is 2: .* its branch's τ, 0.8, so alpha is 1.25 there"),
        (("tqr.q_map=prob",), "drawn from at temperature 1, and that of AVA-p is 0.8"),
        (("training.dropout=0.1",), "AVA-p cannot be trained so: dropout is 0.1"),
    ],
)
def test_a_tqr_whose_policy_is_another_than_is_sampled_is_refused(
    overrides: tuple[str, ...], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        config(AVA, *overrides)


def test_a_tqr_is_trained_at_the_temperature_of_its_branch() -> None:
    """And by its branch's weights; a rate of its own for heads is of those that have some."""
    sweep = "{method: ava_p, lam: [0, 2], c_kl: 3, temperatures: [0.8, 0.5]}, {method: dpo}"
    found = config(f"branches=[{sweep}]", "training.head_learning_rate=0.01", "ava.gamma=0.9")
    *tqrs, dpo = found.all_branches()
    updates = [found.tqr_update(branch) for branch in tqrs]
    assert [one.tqr.temperature for one in updates] == [0.8, 0.5, 0.8, 0.5]
    assert [one.ava.lam for one in updates] == [0, 0, 2, 2]
    assert {(one.ava.c_kl, one.ava.gamma, one.objective) for one in updates} == {(3, 0.9, "ava_p")}
    assert {one.training.head_learning_rate for one in updates} == {0.01}
    assert dpo.update(found.shared_update()).training.head_learning_rate is None
    printed = config(AVA, "tqr={q_map: prob, alpha: 5}", "temperature=1", "sampling.temperature=1")
    assert printed.tqr_update(printed.all_branches()[0]).tqr.alpha == 5


def test_a_reward_model_that_is_a_tqr_may_have_an_encoder() -> None:
    bart = ("model.architecture={kind: bart, hidden_size: 32, layers: 1, heads: 2, context: 224}",)
    found = config(*bart, AVA, "reward.objective=ava_p", "ppo_search=null")
    assert not found.policy_is_decoder
    for wrong in (AVA, "reward.objective=ava_p"):
        with pytest.raises(ConfigError, match="kind bart has an encoder"):
            config(*bart, wrong)


def test_without_an_oracle_nobody_can_label() -> None:
    plain = ["data.playground=null", "data.preferences=[{path: pairs.jsonl}]"]
    assert config(*plain).judges() == ("RM",)
    for override in ("supervision=oracle", "preferences=labelled"):
        with pytest.raises(ConfigError, match="nobody knows the true reward"):
            config(*plain, override)


def test_a_finished_classifier_is_an_oracle_of_any_dialogues(tmp_path: Path) -> None:
    plain = ["data.playground=null", "data.preferences=[{path: pairs.jsonl}]"]
    found = config(*plain, f"oracle.model={tmp_path}", "preferences=labelled")
    assert found.judges() == ("oracle", "RM") and str(tmp_path) in found.named_paths()
    elsewhere = config(*plain, "oracle.model=some/where")
    assert found.oracle.in_key() == config(*plain, "oracle.model=/else").oracle.in_key()
    assert elsewhere.oracle.in_key() == elsewhere.oracle
    pinned = elsewhere.with_model_names(lambda name: f"{name}@abc")
    assert pinned.oracle.model == "some/where@abc"


def test_the_judges_follow_from_who_knows_what() -> None:
    assert config().judges() == ("oracle", "RM")
    assert config("supervision=oracle").judges() == ("oracle",)


def test_a_search_tries_the_grid_or_a_seeded_part_of_it() -> None:
    grid = PpoSearch(trials=4, total_steps=(2, 4), actor_learning_rate=(1e-4, 1e-3))
    found = grid.settings(PpoConfig(kl_coef=0.7), seed=0)
    assert [(one.total_steps, one.actor_learning_rate) for one in found] == [
        (2, 1e-4),
        (2, 1e-3),
        (4, 1e-4),
        (4, 1e-3),
    ]
    assert {one.kl_coef for one in found} == {0.7}
    fewer = grid.model_copy(update={"trials": 3})
    drawn = fewer.settings(PpoConfig(), seed=1)
    assert len({one.model_dump_json() for one in drawn}) == 3
    assert drawn == fewer.settings(PpoConfig(), seed=1)
