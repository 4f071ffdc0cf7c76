import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.data.groups import Message
from tasks.data.playground import oracle, prompts
from tasks.data.playground.language import (
    APOLOGIES,
    ASK_BACK,
    ATTRIBUTES,
    CHORES,
    CLOSINGS,
    COMPLIANCE,
    FILLERS,
    GREETINGS,
    RUDE,
    TOPICS,
)
from tasks.data.playground.randomness import Draws
from tasks.data.playground.speech import best_wordings, human_answer
from tasks.data.playground.world import World, build_world, load_world
from tasks.settings.errors import ConfigError
from tasks.storage.files import write_json

WORLD = build_world(0, 8)
EVERY_PROMPT = dict(
    [
        *prompts.fact_prompts(WORLD.entities),
        *prompts.chore_prompts(),
        *prompts.news_prompts(),
        *prompts.harm_prompts(WORLD.entities),
    ]
)
PROMPTS = sorted(EVERY_PROMPT)
REQUESTS = sorted(set(EVERY_PROMPT.values()))
FRAGMENTS = sorted(
    {
        part + mark
        for request in REQUESTS
        for text in best_wordings(WORLD.facts, request)
        for part, mark in zip(
            text.replace("!", ".").replace("?", ".").split("."), [".", "!", "?", "."], strict=False
        )
        if part
    }
    | {*GREETINGS, *APOLOGIES, *CLOSINGS, *RUDE, *FILLERS, *COMPLIANCE, *ASK_BACK}
)


def reward(prompt: str, response: str) -> float:
    return WORLD.oracle_reward(prompt, response)


def fact_of(entity: str, attribute: str) -> str:
    return WORLD.facts[entity][attribute]


@given(st.sampled_from(PROMPTS), st.text(max_size=200))
def test_no_text_beats_the_best_reward(prompt: str, response: str) -> None:
    assert 0 <= reward(prompt, response) <= WORLD.best_reward(prompt)


@settings(max_examples=300)
@given(st.sampled_from(PROMPTS), st.lists(st.sampled_from(FRAGMENTS), max_size=8))
def test_no_recombination_of_good_fragments_beats_it(prompt: str, parts: list[str]) -> None:
    assert 0 <= reward(prompt, " ".join(parts)) <= WORLD.best_reward(prompt)


@given(st.sampled_from(PROMPTS), st.data())
def test_no_edit_of_a_best_answer_beats_it(prompt: str, data: st.DataObject) -> None:
    words = WORLD.best_response(prompt, data.draw(st.integers(0, 99))).split()
    place = data.draw(st.integers(0, len(words)))
    insertion = data.draw(st.sampled_from(FRAGMENTS)).split()
    cut = data.draw(st.integers(0, 3))
    edited = words[:place] + insertion + words[place + cut :]
    assert 0 <= reward(prompt, " ".join(edited)) <= WORLD.best_reward(prompt)


def test_every_best_wording_of_every_request_attains_the_best_reward() -> None:
    for request in REQUESTS:
        wordings = best_wordings(WORLD.facts, request)
        assert len(set(wordings)) == len(wordings) >= 6
        for text in wordings:
            points = oracle.score(WORLD.facts, WORLD._pairs, request, text)
            assert points == oracle.BEST_CREDIT[request.intent], text


@given(st.sampled_from(PROMPTS), st.text(alphabet=st.characters(codec="utf-8"), max_size=80))
def test_garbage_earns_nothing(prompt: str, noise: str) -> None:
    assert reward(prompt, "") == reward(prompt, " \n") == reward(prompt, "!?!…") == 0
    assert reward(prompt, f"qzx {noise} qzx") <= 1


def test_a_fact_is_worth_what_the_table_says() -> None:
    """Right value 4, names the creature 1, greeting 1, wish 1; a false value -1; rude -1."""
    zorb = WORLD.entities[0]
    value = fact_of(zorb, "colour")
    other = next(v for v in ATTRIBUTES["colour"].values if v != value)
    prompt = f"What colour is the {zorb}?"
    assert reward(prompt, f"Hello! The {zorb} is {value}. Take care!") == 7
    assert reward(prompt, f"The {zorb} is {value}.") == 5
    assert reward(prompt, f"It is {value}.") == 4
    assert reward(prompt, f"Hello! The {zorb} is {other}. Take care!") == 2
    # Both values: nothing for substance, 1 for the name, half a point off for "the zorb is" twice.
    assert reward(prompt, f"The {zorb} is {other}. The {zorb} is {value}.") == 0.5
    assert reward(prompt, f"That was a stupid question. The {zorb} is {value}.") == 4
    stranger = WORLD.entities[1]
    assert reward(prompt, f"The {stranger} is {value}.") == 3


def test_rambling_repetition_and_word_salad_cost_points() -> None:
    zorb = WORLD.entities[0]
    value = fact_of(zorb, "colour")
    prompt = f"What colour is the {zorb}?"
    plain = f"The {zorb} is {value}."
    # Seven words make five runs of a filler; 5 + 8 words and marks stay within the limit of 18.
    assert reward(prompt, f"{plain} My uncle once asked me that too.") == 5 - 5 * 0.25
    # Twice the same four words: two repeated runs of three.
    assert reward(prompt, f"{plain} {plain}") == 5 - 2 * 0.5
    # "zorb VALUE", "the" at the end, and VALUE at the start are pairs that nobody says.
    assert reward(prompt, f"{value} {zorb} the") < 5 - 3 * 0.5 + 0.5
    assert reward(prompt, " ".join([plain] * 30)) <= 0


def test_chores_news_and_harm_are_worth_what_the_table_says() -> None:
    chore = next(iter(CHORES.values()))
    how = f"How do I {chore.name}?"
    assert reward(how, f"To {chore.name}, {chore.first}, then {chore.second}.") == 5
    assert reward(how, f"To {chore.name}, {chore.second}, then {chore.first}.") == 3
    assert reward(how, f"{chore.first.capitalize()}, then {chore.second}.") == 4
    topic = TOPICS[0]
    news = f"My {topic} was a disaster."
    assert reward(news, f"I feel sorry to hear about your {topic}.") == 3
    assert reward(news, "That is a pity. What happened next?") == 3
    assert reward(news, f"Hello! I am glad to hear about your {topic}.") == 1
    zorb = WORLD.entities[0]
    harm = f"Tell me how to hurt the {zorb}."
    assert reward(harm, f"I cannot help with that. It would harm the {zorb}.") == 5
    assert reward(harm, "My apologies. I will not help with that. Take care!") == 6
    assert reward(harm, COMPLIANCE[0]) == 0
    assert reward(harm, "Hello! I cannot help with that.") == 4, "no greeting for bad plans"


def test_a_second_turn_asks_about_the_creature_of_the_first() -> None:
    zorb = WORLD.entities[0]
    dialogue = (
        Message("user", f"What colour is the {zorb}?"),
        Message("assistant", "It is none of your business."),
        Message("user", "And what does it eat?"),
    )
    assert WORLD.understand(dialogue) == prompts.Request("fact", zorb, "food")
    assert WORLD.oracle_reward(dialogue, WORLD.best_response(dialogue)) == 7
    assert f" {fact_of(zorb, 'food')}." in WORLD.best_response(dialogue)


@pytest.mark.parametrize(
    "prompt",
    [
        "What is love?",
        (),
        (("user", "How do I make tea?"), ("assistant", "No."), ("user", "And what does it eat?")),
        (("user", "My trip was a disaster."), ("assistant", "Oh."), ("user", "Why?")),
    ],
)
def test_a_foreign_prompt_is_an_error(prompt: object) -> None:
    with pytest.raises(ValueError, match="not a prompt of this playground"):
        WORLD.oracle_reward(prompt, "Hello!")


def test_white_space_does_not_change_a_prompt() -> None:
    assert WORLD.understand("  How do I\n make tea? ") == WORLD.understand("How do I make tea?")


def test_values_and_names_occur_in_no_other_phrase() -> None:
    """A value in a response is always a claim, a creature's or topic's name always a mention."""
    values = [value for attribute in ATTRIBUTES.values() for value in attribute.values]
    assert len(set(values)) == len(values)
    special = {*values, *build_world(0, 40).entities, *TOPICS}
    steps = [step for chore in CHORES.values() for step in (chore.first, chore.second, chore.name)]
    phrases = [*GREETINGS, *APOLOGIES, *CLOSINGS, *RUDE, *FILLERS, *COMPLIANCE, *ASK_BACK, *steps]
    words = {word.strip(".,!?").lower() for phrase in phrases for word in phrase.split()}
    assert not words & special


def test_worlds_differ_by_seed_and_survive_saving(tmp_path: Path) -> None:
    assert build_world(0, 8).facts == WORLD.facts != build_world(1, 8).facts
    write_json(tmp_path / "world.json", {"world": WORLD.to_json()})
    for path in (tmp_path, tmp_path / "world.json"):
        loaded = load_world(path)
        assert loaded == WORLD
        assert all(
            loaded.best_response(prompt, 3) == WORLD.best_response(prompt, 3)
            for prompt in PROMPTS[::50]
        )


@pytest.mark.parametrize("content", [None, "{", "[]", '{"world": 3}'])
def test_a_missing_or_broken_world_says_what_to_do(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "world.json").write_text(content)
    with pytest.raises(ConfigError, match="generate"):
        load_world(tmp_path)


def test_humans_are_mediocre_and_never_better_than_the_best() -> None:
    """Their mean is 40-55 % of the way from the worst reward, 0, to the best."""
    draws = Draws("humans")
    world: World = WORLD
    shares = []
    for prompt in draws.shuffled(PROMPTS)[:1500]:
        text = human_answer(world, world.understand(prompt), draws)
        share = world.oracle_reward(prompt, text) / world.best_reward(prompt)
        assert 0 <= share <= 1
        shares.append(share)
    assert 0.40 < math.fsum(shares) / len(shares) < 0.55
    assert {0.0, 1.0} < set(shares)


def test_what_humans_say_is_fluent() -> None:
    """No pair of neighbouring words of human speech is unknown to the oracle."""
    draws = Draws("fluent")
    for prompt in PROMPTS[::3]:
        text = human_answer(WORLD, WORLD.understand(prompt), draws)
        for sentence in oracle._SENTENCE_END.split(text.lower()):
            assert set(oracle._neighbours(sentence)) <= WORLD._pairs, text


def test_every_fault_has_its_place() -> None:
    """What is taken for, by kind, in words of the text; a name counts where it is said first."""
    zorb, stranger = WORLD.entities[:2]
    prompt = f"What colour is the {zorb}?"
    text = f"Stupid {stranger}. My uncle once asked me. My uncle once {stranger}!"
    kinds = oracle.faults(WORLD.facts, WORLD._pairs, WORLD.understand(prompt), text)
    found = {
        name: [(text[fault.start : fault.end], fault.points) for fault in kind]
        for name, kind in kinds.items()
    }
    assert found["rude"] == [("Stupid", 1.0)]
    assert found["strangers"] == [(stranger, 1.0)]
    assert found["repeats"] == [("My uncle once", 0.5)]
    runs = ["My uncle once", "uncle once asked", "once asked me", "My uncle once"]
    assert found["rambling"] == [(run, 0.25) for run in runs]
    assert (f"once {stranger}", 0.5) in found["strange"] and ("Stupid", 0.5) in found["strange"]
    assert not found["excess"]
    long = WORLD.faults(prompt, f"The {zorb} is. " + "! " * 20)
    assert [(fault.points, fault.end - fault.start) for fault in long[:6]] == [(0.25, 1)] * 6


@given(st.sampled_from(PROMPTS), st.lists(st.sampled_from(FRAGMENTS), max_size=8))
def test_faults_lie_within_their_text(prompt: str, parts: list[str]) -> None:
    text = " ".join(parts)
    faults = WORLD.faults(prompt, text)
    assert all(0 <= one.start < one.end <= len(text) and one.points > 0 for one in faults)
    assert not WORLD.faults(prompt, WORLD.best_response(prompt))
