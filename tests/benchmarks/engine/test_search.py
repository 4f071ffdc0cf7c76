from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.engine import peers
from benchmarks.engine.search import Choice, SideError, Tried, Variants, best_setting, described

VARIANTS = Variants(
    {"micro_batch": (1, 2, 4, 16), "by_length": (False, True)},
    {"checkpointing": (False, True), "precomputed": (False, True)},
)


def measure(rate: Callable[[Any], float]) -> tuple[list[Any], Callable[[Choice], float]]:
    asked: list[Any] = []

    def found(choice: Choice) -> float:
        asked.append(tuple(choice.values()))
        return rate(asked[-1])

    return asked, found


def test_all_combinations_then_one_change_at_a_time_from_the_best() -> None:
    asked, found = measure(
        lambda one: {2: 3.0}.get(one[0], 1.0) * (1 + one[1]) / (1 + one[2]) * (1 + one[3])
    )
    best, tried = best_setting(VARIANTS, found)
    assert best == {
        "micro_batch": 2,
        "by_length": True,
        "checkpointing": False,
        "precomputed": True,
    }
    assert asked[:8] == [(m, s, False, False) for m in (1, 2, 4, 16) for s in (False, True)]
    # Checkpointing does not pay, so precomputing is tried without it.
    assert asked[8:] == [(2, True, True, False), (2, True, False, True)]
    assert [one.rate for one in tried][-2:] == [3.0, 12.0]


def test_what_runs_out_of_memory_is_recorded_and_not_fatal() -> None:
    def rate(one: Any) -> float:
        if one[0] == 16:
            raise SideError("TRL ended with -9:\nlog", "killed, as where memory runs out")
        return float(one[0])

    best, tried = best_setting(VARIANTS, measure(rate)[1])
    assert best["micro_batch"] == 4
    failed = [one for one in tried if one.rate is None]
    assert [one.choice["micro_batch"] for one in failed] == [16, 16]
    assert str(failed[0]).endswith("precomputed off: failed: killed, as where memory runs out")


def test_checkpointing_is_tried_where_nothing_runs_without_it() -> None:
    def rate(one: Any) -> float:
        if not one[2]:
            raise SideError("out of memory")
        return 1.0

    best, tried = best_setting(VARIANTS, measure(rate)[1])
    assert best["micro_batch"] == 1 and best["checkpointing"]
    assert len(tried) == 10


def test_no_setting_works() -> None:
    def rate(one: Any) -> float:
        raise SideError("it cannot", "it cannot")

    with pytest.raises(SideError, match=r"no setting of the peer works: batch 8: failed: it can"):
        best_setting(Variants({"batch": (8, 16)}), measure(rate)[1])


def test_one_setting_is_not_measured() -> None:
    asked, found = measure(lambda one: 1.0)
    assert best_setting(Variants({"eager": (True,)}, {"a": (1,)}), found) == (
        {"eager": True, "a": 1},
        [],
    )
    assert best_setting(Variants(), found) == ({}, [])
    assert not asked


def test_a_setting_in_words() -> None:
    assert described({"micro_batch": 1, "by_length": False}) == "micro batch 1, by length off"
    assert str(Tried({"batch": 8}, 1.2345)) == "batch 8: 1.23 a second"


def test_peers_are_tuned_by_what_a_user_can_set() -> None:
    plan = {"batch": 16, "precision": "bf16"}
    dpo, reward, padded = (
        peers.trl_dpo(plan).variants,
        peers.trl_reward(plan).variants,
        peers.padded_groups({"batch": 4}).variants,
    )
    assert dpo == VARIANTS
    assert reward.crossed == VARIANTS.crossed and set(reward.alone) == {"checkpointing"}
    assert padded.crossed["micro_batch"] == (1, 2, 4)
    chosen = peers.trl_dpo(plan).set_to({"micro_batch": 2}, searching=True)
    assert chosen.options == plan | {"blocks": 1, "micro_batch": 2}


def test_a_library_is_loaded_before_the_interpreter() -> None:
    peer = peers.vllm({"samples": 4})
    plain, loaded = (peer.set_to({"eager": True, "preload": name}) for name in ("", "lib.so"))
    assert plain.options == loaded.options == {"samples": 4, "eager": True}
    assert loaded.environment == plain.environment | {"LD_PRELOAD": "lib.so"}
    assert described({"preload": ""}) == "preload nothing"


def test_a_peer_that_is_not_installed_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    assert (
        peers.trl_dpo({"batch": 4})
        .missing()
        .endswith("pip install -c constraints.txt -e '.[bench]'")
    )
    monkeypatch.setattr(peers, "VLLM_PYTHON", Path("/nowhere/bin/python"))
    assert peers.vllm({}).missing() == "vLLM is not installed: make vllm"
    assert peers.generate({}).missing() == ""
