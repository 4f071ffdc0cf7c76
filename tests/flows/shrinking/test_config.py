"""What of a configuration becomes small, and that everything else stays the user's."""

from __future__ import annotations

import pytest

from flows.configs.base import FlowConfig
from flows.configs.exo import ExoConfig
from flows.registry import CONFIGS, find_flow, read_config
from flows.shrinking.config import Smallness, shrink_data, shrink_work
from tasks.data.sources.config import SourceConfig
from tasks.data.text_config import TextsConfig

SMALL = Smallness()


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "BASE_MODEL",
        "GOLD",
        "PAIRS",
        "PROMPTS",
        "GPT4LLM",
        "SPARRING_DATA",
        "SUBSET",
        "REWARD_MODEL",
    ):
        monkeypatch.setenv(name, name)


def read(name: str, *overrides: str) -> FlowConfig:
    found = read_config(find_flow(name.partition("-")[0]), CONFIGS / f"{name}.yaml", overrides)
    assert isinstance(found, FlowConfig)
    return found


def exo(*overrides: str) -> ExoConfig:
    found = shrink_work(read("exo-imdb", *overrides), SMALL)
    assert isinstance(found, ExoConfig)
    return found


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_every_shipped_configuration_has_a_small_one_with_the_same_branches(name: str) -> None:
    whole = read(name)
    small = shrink_work(shrink_data(whole, SMALL), SMALL)
    assert type(small) is type(whole) and small.seed == whole.seed
    assert not small.placement.places() and small.placement.side_by_side == 1
    if isinstance(whole, ExoConfig) and isinstance(small, ExoConfig):
        kept = [(one.method, one.seed, len(one.coefficients)) for one in small.all_branches()]
        assert kept == [(o.method, o.seed, len(o.coefficients)) for o in whole.all_branches()]
    again = shrink_work(shrink_data(small, SMALL), SMALL)
    assert again == small, "small is small enough"


def test_first_rows_of_what_is_read_whole_and_a_smaller_part_of_a_part() -> None:
    texts = TextsConfig(
        prompts=[SourceConfig(path="a"), SourceConfig(path="b", limit=5000, seed=3)],
        labelled=[SourceConfig(path="c")],
        held_out=[SourceConfig(path="d", limit=7)],
    )
    small = shrink_data(texts, SMALL)
    found = [(one.rows, one.limit, one.seed) for one in small.prompts]
    assert found == [(128, None, 0), (None, 128, 3)]
    # Both labels of a sorted split are met by a sample over it, and by no beginning.
    assert [(one.rows, one.limit) for one in small.labelled] == [(None, 128)]
    assert [(one.rows, one.limit) for one in small.held_out] == [(None, 7)]


def test_the_playground_is_read_by_its_first_rows_too() -> None:
    small = shrink_data(read("apo-tiny"), SMALL).data
    assert small is not None and small.playground is not None
    assert [one.rows for one in (*small.preferences, *small.test)] == [128, 128]


def test_a_scheduled_run_is_rehearsed_as_it_would_begin() -> None:
    whole = read("exo-hh").model_copy(update={"inputs": {"a": "b"}})
    assert shrink_data(whole, SMALL).inputs == {}


def test_a_training_takes_two_steps_of_few_groups_and_keeps_its_rate_and_lengths() -> None:
    whole, small = read("exo-imdb"), exo()
    assert isinstance(whole, ExoConfig)
    training = small.training
    assert (training.max_steps, training.batch_size, training.snapshots) == (2, 4, 2)
    assert training.learning_rate == whole.training.learning_rate
    assert training.micro_batch_tokens == whole.training.micro_batch_tokens
    assert small.limits == whole.limits and small.reward.limits == whole.reward.limits
    assert small.sft is not None and small.sft.training.max_steps == 2
    assert small.ppo.total_steps == 2 and small.sampling.max_new_tokens == 16
    assert small.evaluation.prompts == 8 and small.oracle.least_accuracy == 0


def test_what_is_small_already_stays() -> None:
    tiny = exo("training.batch_size=2", "sampling.max_new_tokens=5", "training.snapshots=1")
    assert (tiny.training.batch_size, tiny.sampling.max_new_tokens) == (2, 5)
    assert tiny.training.snapshots == 1


def test_numbers_of_responses_are_cut_and_stay_different() -> None:
    small = exo("branches=[{method: best_of_n, responses: [4, 16, 64]}]")
    assert [one.responses for one in small.all_branches()] == [4, 7, 8]


def test_a_search_tries_two_settings_that_fit_two_steps() -> None:
    search = exo().ppo_search
    assert search is not None
    assert (search.trials, search.total_steps, search.critic_warmup_steps) == (2, (2,), (0, 1))
    assert len(search.actor_learning_rate) == 3
    assert len(search.settings(exo().ppo, 0)) == 2


def test_two_processes_stand_for_many_and_each_has_a_group() -> None:
    small = exo("training.processes=8", "training.nodes=2", "training.batch_size=64")
    assert (small.training.world_size, small.training.batch_size) == (2, 4)


def test_placement_stays_where_it_is_asked_for() -> None:
    kept = shrink_work(read("exo-hh"), SMALL, placed=True)
    assert kept.placement == read("exo-hh").placement


def test_nothing_of_the_whole_one_is_changed() -> None:
    whole = read("exo-tiny")
    before = whole.model_dump_json()
    shrink_work(shrink_data(whole, SMALL), SMALL)
    assert whole.model_dump_json() == before


def test_branches_that_differ_in_what_is_cut_alone_become_one() -> None:
    """Of 64 and 128 responses 8 are left, and a branch that is there twice is refused."""
    large = ("{method: best_of_n, responses: 64}", "{method: best_of_n, responses: 128}")
    small = exo(f"branches=[{large[0]}, {large[1]}, {{method: sft}}]")
    assert [one.method for one in small.all_branches()] == ["best_of_n", "sft"]
