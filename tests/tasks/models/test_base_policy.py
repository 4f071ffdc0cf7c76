"""The policy a run starts from: the user's, the hub's at one revision, or a small one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.data.groups import Group, Message
from tasks.models.base_policy import PolicyModelConfig, corpus_texts, write_base_policy
from tasks.models.loading import save_model
from tasks.models.policy import load_policy
from tasks.models.tokens.tokenizer import load_tokenizer
from tasks.settings.errors import ConfigError
from tasks.settings.log import NullLog
from tests.tasks.models.families import saved_template

SMALL = {"kind": "llama", "hidden_size": 16, "layers": 2, "heads": 2, "context": 64}


def build_small(texts: list[str], output: Path, seed: int) -> dict[str, float]:
    config = PolicyModelConfig(architecture=SMALL, vocabulary=300, template="hh")
    return write_base_policy(config, None, iter(texts), output, seed, NullLog())


def test_a_small_model_and_its_tokenizer_are_functions_of_texts_and_seed(
    texts: list[str], tmp_path: Path
) -> None:
    metrics = build_small(texts, tmp_path / "a", 1)
    build_small(texts, tmp_path / "b", 1)
    build_small(texts, tmp_path / "c", 2)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name
    model = load_policy(tmp_path / "a")
    other = load_policy(tmp_path / "c")
    assert metrics == {
        "parameters": float(sum(parameter.numel() for parameter in model.parameters())),
        "vocabulary": 300.0,
    }
    assert not torch.equal(next(model.parameters()), next(other.parameters()))
    assert len(load_tokenizer(tmp_path / "a")) == 300
    assert saved_template(tmp_path / "a") == "hh"


def test_a_users_model_keeps_its_weights_and_its_texts_are_not_read(
    build: Callable[..., Any], tokenizer: Any, tmp_path: Path
) -> None:
    save_model(build(), tokenizer, tmp_path / "own", "hh")

    def unread() -> Any:
        raise AssertionError("read")
        yield

    config = PolicyModelConfig(path=str(tmp_path / "own"))
    write_base_policy(config, tmp_path / "own", unread(), tmp_path / "out", 0, NullLog())
    before, after = load_policy(tmp_path / "own"), load_policy(tmp_path / "out")
    for name, value in before.state_dict().items():
        assert torch.equal(value, after.state_dict()[name])
    assert saved_template(tmp_path / "out") == "hh"
    other = PolicyModelConfig(path=str(tmp_path / "own"), template="plain")
    write_base_policy(other, tmp_path / "own", unread(), tmp_path / "plain", 0, NullLog())
    assert saved_template(tmp_path / "plain") == "plain"


@pytest.fixture
def hub(
    build: Callable[..., Any], tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """A hub model in a cache of its own: `main` and `v2` hold different weights."""
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    repository = cache / "models--somebody--tiny"
    (repository / "refs").mkdir(parents=True)
    for seed, name in enumerate(("main", "v2")):
        commit = str(seed) * 40
        save_model(build(seed=seed), tokenizer, repository / "snapshots" / commit, "hh")
        (repository / "refs" / name).write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    return "somebody/tiny"


@pytest.mark.parametrize(("revision", "seed"), [(None, 0), ("v2", 1), ("1" * 40, 1)])
def test_the_hubs_model_is_that_of_the_revision(
    hub: str, build: Callable[..., Any], tmp_path: Path, revision: str | None, seed: int
) -> None:
    config = PolicyModelConfig(hub=hub, revision=revision)
    write_base_policy(config, None, iter(()), tmp_path / "out", 9, NullLog())
    expected, found = build(seed=seed), load_policy(tmp_path / "out")
    assert torch.equal(next(expected.parameters()), next(found.parameters()))


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json"])
def test_every_file_comes_from_the_revision(hub: str, tmp_path: Path, missing: str) -> None:
    """What `main` lacks must not matter to `v2`, nor be taken from it."""
    main = tmp_path / "hub" / "models--somebody--tiny" / "snapshots" / ("0" * 40)
    shutil.move(main / missing, tmp_path / "aside")
    config = PolicyModelConfig(hub=hub, revision="v2")
    write_base_policy(config, None, iter(()), tmp_path / "out", 9, NullLog())


def test_an_unknown_revision_is_a_config_error(hub: str, tmp_path: Path) -> None:
    config = PolicyModelConfig(hub=hub, revision="v3")
    with pytest.raises(ConfigError, match="somebody/tiny"):
        write_base_policy(config, None, iter(()), tmp_path / "out", 9, NullLog())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "exactly one of path, hub and architecture; got none"),
        ({"path": "a", "hub": "b"}, r"got \['path', 'hub'\]"),
        ({"architecture": SMALL}, "name one"),
        ({"hub": "b", "template": "hhh"}, "did you mean 'hh'"),
        ({"path": "a", "revision": "v2"}, "revision is that of a hub model"),
        ({"architecture": SMALL, "template": "hh", "vocabulary": 258}, "greater than or equal"),
    ],
)
def test_a_contradictory_choice_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PolicyModelConfig(**given)


def test_corpus_texts_are_turns_and_responses_in_order() -> None:
    turns = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    groups = [Group(turns, ("d", "e")), Group((Message("user", "f"),))]
    assert list(corpus_texts(groups)) == ["a", "b", "c", "d", "e", "f"]
