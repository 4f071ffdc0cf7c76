"""The split, a function of the first turn alone in the asked shares; the proof against leaks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.data.files import write_groups
from tasks.data.groups import Group, Message
from tasks.data.splits import SplitConfig, check_disjoint, place
from tasks.settings.errors import ConfigError

CONFIGS = st.builds(
    SplitConfig,
    rm_share=st.floats(0.1, 0.9),
    dev_share=st.floats(0.1, 0.9),
    test_share=st.floats(0.1, 0.9),
    dev_from_policy=st.sampled_from(["shared", "held_out"]),
    seed=st.integers(0, 5),
)


def prompt(*texts: str) -> tuple[Message, ...]:
    return tuple(Message(("user", "assistant")[i % 2], text) for i, text in enumerate(texts))


@given(CONFIGS, st.text(max_size=5), st.lists(st.text(max_size=3), max_size=3), st.booleans())
def test_a_dialogue_and_its_continuations_land_together(
    config: SplitConfig, first: str, more: list[str], cut_test: bool
) -> None:
    parts = place(prompt(first), config, cut_test=cut_test)
    assert place(prompt(first, *more), config, cut_test=cut_test) == parts
    assert parts in {
        ("test",),
        ("rm_train",),
        ("policy_train",),
        ("policy_train", "dev") if config.dev_from_policy == "shared" else ("dev",),
    }
    assert cut_test or "test" not in parts


def test_the_shares_are_those_asked_for() -> None:
    """10,000 first turns: three standard errors of a share are at most 1.5 %."""
    config = SplitConfig(rm_share=0.3, dev_share=0.2, test_share=0.1)
    counts: Counter[str] = Counter()
    for i in range(10_000):
        counts.update(place(prompt(f"question {i}"), config, cut_test=True))
    assert counts["test"] / 10_000 == pytest.approx(0.1, abs=0.015)
    assert counts["rm_train"] / 10_000 == pytest.approx(0.9 * 0.3, abs=0.015)
    assert counts["policy_train"] / 10_000 == pytest.approx(0.9 * 0.7, abs=0.015)
    assert counts["dev"] / counts["policy_train"] == pytest.approx(0.2, abs=0.02)


def test_changing_one_share_moves_nothing_between_the_other_parts() -> None:
    prompts = [prompt(f"question {i}") for i in range(500)]
    few, many = SplitConfig(test_share=0.05), SplitConfig(test_share=0.3)
    for one in prompts:
        after = place(one, many, cut_test=True)
        assert after == ("test",) or after == place(one, few, cut_test=True)


def test_the_placement_is_pinned() -> None:
    """A changed placement would change every split in the world: never unnoticed."""
    places = [place(prompt(f"q{i}"), SplitConfig(), cut_test=True) for i in range(8)]
    assert [parts[-1] for parts in places] == PINNED
    other = [place(prompt(f"q{i}"), SplitConfig(seed=1), cut_test=True) for i in range(8)]
    assert places != other


PINNED = ["policy_train", "policy_train", "dev", "test"]
PINNED += ["policy_train", "rm_train", "policy_train", "rm_train"]


def folders(tmp_path: Path, **parts: list[tuple[Message, ...]]) -> dict[str, Path]:
    for name, prompts in parts.items():
        write_groups(tmp_path / name, [Group(one) for one in prompts])
    return {name: tmp_path / name for name in parts}


def test_disjoint_parts_pass_with_their_counts(tmp_path: Path) -> None:
    found = folders(
        tmp_path,
        rm_train=[prompt("a"), prompt("a"), prompt("a", "b", "c")],
        policy_train=[prompt("d"), prompt("e")],
        dev=[prompt("d")],
        test=[prompt("f")],
    )
    counts = {"rm_train": 2, "policy_train": 2, "dev": 1, "test": 1}
    assert check_disjoint(found) == counts


@pytest.mark.parametrize(
    "pair",
    [
        ("rm_train", "dev"),
        ("rm_train", "test"),
        ("dev", "test"),
        ("policy_train", "test"),
        ("rm_train", "policy_train"),
        ("rm_queries", "policy_train"),
        ("rm_queries", "test"),
        ("demonstrations", "test"),
        ("extra", "test"),
    ],
)
def test_a_planted_leak_stops_the_run(tmp_path: Path, pair: tuple[str, str]) -> None:
    own = {name: [prompt(name)] for name in pair}
    own[pair[0]].append(prompt("shared", "x", "y"))
    own[pair[1]].append(prompt(" shared "))
    with pytest.raises(ConfigError) as caught:
        check_disjoint(folders(tmp_path, **own))
    words = f"{pair[0]} and {pair[1]} share 1 first turns and 0 whole prompts"
    assert words in str(caught.value)
    assert "`overlap: drop`" in str(caught.value)
    assert caught.value.exit_code == 2


def test_whole_prompts_are_compared_too_and_ids_are_not_trusted(tmp_path: Path) -> None:
    one, other = Group(prompt("a", "b", "c"), id="x"), Group(prompt("a", "b", "c"), id="y")
    write_groups(tmp_path / "dev", [one])
    write_groups(tmp_path / "test", [other])
    with pytest.raises(ConfigError, match="share 1 first turns and 1 whole prompts"):
        check_disjoint({name: tmp_path / name for name in ("dev", "test")})


def test_only_the_asked_pairs_are_compared(tmp_path: Path) -> None:
    found = folders(tmp_path, policy_train=[prompt("a")], dev=[prompt("a")])
    check_disjoint(found)
    with pytest.raises(ConfigError, match="policy_train and dev"):
        check_disjoint(found, [("policy_train", "dev")])
