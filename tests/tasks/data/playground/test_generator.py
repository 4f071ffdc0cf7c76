import hashlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.data.groups import Group, first_turn_hash, prompt_hash
from tasks.data.playground.__main__ import main
from tasks.data.playground.config import PlaygroundConfig
from tasks.data.playground.generator import FILES, ensure_playground, generate
from tasks.data.playground.world import load_world
from tasks.data.sources.config import SourceConfig
from tasks.data.sources.reader import read_source
from tasks.settings.errors import ConfigError

PAIRS = ("preferences", "test", "extra")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("data") / "playground"
    generate(PlaygroundConfig(), target)
    return target


def groups(folder: Path, name: str) -> list[Group]:
    def fail(record: object) -> None:
        raise AssertionError(record)

    return list(read_source(SourceConfig(path=str(folder / f"{name}.jsonl")), fail))


def digests(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}


def test_the_readers_read_every_line_in_the_autodetected_format(folder: Path) -> None:
    config = PlaygroundConfig()
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    for name in PAIRS:
        found = groups(folder, name)
        assert len(found) == getattr(config, name)
        assert {(len(group.responses), group.scores) for group in found} == {(2, (1.0, 0.0))}
    demonstrations = groups(folder, "demonstrations")
    assert len(demonstrations) == config.demonstrations
    assert {len(group.responses) for group in demonstrations} == {1}
    assert {len(group.prompt) for group in demonstrations} == {1, 3}


def test_golden_covers_the_training_prompts_with_best_answers(folder: Path) -> None:
    world = load_world(folder)
    golden = groups(folder, "golden")
    asked = {prompt_hash(group.prompt) for group in groups(folder, "preferences")}
    assert [len(golden), {prompt_hash(group.prompt) for group in golden}] == [len(asked), asked]
    for group in golden:
        (answer,) = group.responses
        assert world.oracle_reward(group.prompt, answer) == world.best_reward(group.prompt)
    assert len({group.responses for group in golden}) > 500


def test_test_prompts_are_unseen_and_their_facts_are_not(folder: Path) -> None:
    world = load_world(folder)
    names = ("preferences", "extra", "demonstrations", "golden")
    seen = [group for name in names for group in groups(folder, name)]
    test = groups(folder, "test")
    first_turns = {first_turn_hash(group.prompt) for group in seen}
    assert not first_turns & {first_turn_hash(group.prompt) for group in test}
    known = {world.understand(group.prompt) for group in seen}
    asked = {world.understand(group.prompt) for group in test}
    assert len(asked - known) == 0
    preferences = {first_turn_hash(group.prompt) for group in groups(folder, "preferences")}
    extra = {first_turn_hash(group.prompt) for group in groups(folder, "extra")}
    assert not preferences & extra
    assert len(preferences) == len(groups(folder, "preferences")), "one pair per prompt"


@pytest.mark.parametrize(("name", "temperature"), [("preferences", 0.8), ("extra", 1.6)])
def test_labels_are_noisy_as_declared(folder: Path, name: str, temperature: float) -> None:
    """The worse answer is chosen with chance s(-gap/temperature): within four standard errors."""
    world = load_world(folder)
    flips = expected = variance = 0.0
    for group in groups(folder, name):
        chosen, rejected = (world.oracle_reward(group.prompt, text) for text in group.responses)
        if chosen != rejected:
            chance = 1 / (1 + math.exp(abs(chosen - rejected) / temperature))
            flips += chosen < rejected
            expected += chance
            variance += chance * (1 - chance)
    assert expected > 20
    assert abs(flips - expected) < 4 * math.sqrt(variance)


def test_the_statistics_are_those_of_the_files(folder: Path) -> None:
    world = load_world(folder)
    shown = groups(folder, "demonstrations")
    rewards = [world.oracle_reward(group.prompt, group.responses[0]) for group in shown]
    statistics = json.loads((folder / "world.json").read_text())["statistics"]
    assert statistics["demonstration_reward"] == round(sum(rewards) / len(rewards), 4)
    assert 0.75 < statistics["best_possible_accuracy"] < 0.95


def test_two_processes_write_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    for hash_seed in ("1", "2"):
        target = tmp_path / hash_seed
        subprocess.run(
            [sys.executable, "-m", "tasks.data.playground", "--folder", str(target)],
            check=True,
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            cwd=Path(__file__).parents[4],
        )
        assert digests(target) == digests(folder)


def test_the_default_content_is_pinned(folder: Path) -> None:
    """A change of content needs a new FORMAT, a new data.dvc and a line in CHANGELOG.md."""
    content = "".join(digests(folder).values())
    assert hashlib.sha256(content.encode()).hexdigest()[:16] == "170d82637491f9e6"


def test_the_seed_changes_everything(folder: Path, tmp_path: Path) -> None:
    generate(PlaygroundConfig(seed=1), tmp_path / "other")
    ours, other = digests(folder), digests(tmp_path / "other")
    assert all(ours[name] != other[name] for name in FILES)


def test_sizes_beyond_the_distinct_prompts_repeat_training_prompts_only(tmp_path: Path) -> None:
    config = PlaygroundConfig(entities=2, preferences=3000, test=1000, demonstrations=50, extra=10)
    generate(config, tmp_path / "small")
    train, test = groups(tmp_path / "small", "preferences"), groups(tmp_path / "small", "test")
    assert [len(train), len(test)] == [3000, 1000]
    first_turns = {first_turn_hash(group.prompt) for group in train}
    assert not first_turns & {first_turn_hash(group.prompt) for group in test}


SMALL = dict(entities=3, preferences=20, test=5, demonstrations=9, extra=0)


def test_ensure_generates_once_and_accepts_its_own(tmp_path: Path) -> None:
    config = PlaygroundConfig(folder=tmp_path / "deep" / "playground", **SMALL)
    assert ensure_playground(config) == config.folder
    stamps = {path: path.stat().st_mtime_ns for path in config.folder.iterdir()}
    assert ensure_playground(config) == config.folder
    assert {path: path.stat().st_mtime_ns for path in config.folder.iterdir()} == stamps
    assert [path.name for path in config.folder.parent.iterdir()] == ["playground"]


def test_ensure_refuses_other_settings_and_says_what_to_do(tmp_path: Path) -> None:
    config = PlaygroundConfig(folder=tmp_path / "playground", **SMALL)
    ensure_playground(config)
    with pytest.raises(ConfigError, match="seed = 0, this configuration has 7; remove"):
        ensure_playground(config.model_copy(update={"seed": 7}))
    (config.folder / "golden.jsonl").unlink()
    with pytest.raises(ConfigError, match="golden.jsonl is missing; remove"):
        ensure_playground(config)


@pytest.mark.parametrize("content", ["{", "[]", '{"settings": 3}'])
def test_ensure_refuses_a_broken_record(tmp_path: Path, content: str) -> None:
    config = PlaygroundConfig(folder=tmp_path / "playground", **SMALL)
    ensure_playground(config)
    (config.folder / "world.json").write_text(content)
    with pytest.raises(ConfigError, match="remove"):
        ensure_playground(config)


def test_what_a_killed_generation_left_is_cleared(tmp_path: Path) -> None:
    config = PlaygroundConfig(folder=tmp_path / "playground", **SMALL)
    (tmp_path / ".playground-partial").mkdir()
    (tmp_path / ".playground-partial" / "stale.jsonl").write_text("x")
    ensure_playground(config)
    assert [path.name for path in tmp_path.iterdir()] == ["playground"]
    assert sorted(path.name for path in config.folder.iterdir()) == sorted(FILES)


def test_the_command_reports_a_foreign_folder_with_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--folder", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "is no playground: name another" in said and "remove" not in said, "it is not ours"
