"""Density ratios of tiny models, against ones computed by hand from their log-probabilities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tasks.data.files import write_groups
from tasks.data.groups import Group, Message
from tasks.evaluation.exo.config import DensityConfig
from tasks.evaluation.exo.density import measure_density
from tasks.models.tokens.encoding import Limits
from tasks.settings.errors import ConfigError
from tasks.settings.log import NullLog
from tasks.storage.files import read_json

CONFIG = DensityConfig(
    limits=Limits(),
    template="plain",
    temperature=0.8,
    betas={"learned": 0.5, "same": 0.25},
    prompts=2,
    grid=9,
)
TEXTS = ("one", "two one", "one one two", "two", "two two two one")


def _samples(folder: Path, *, scored: bool = True, texts: tuple[str, ...] = TEXTS) -> Path:
    scores = tuple(0.3 * k for k in range(len(texts))) if scored else None
    groups = [Group((Message("user", f"ask {row}"),), texts, scores) for row in range(3)]
    write_groups(folder, groups)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from tasks.models.architecture import ArchitectureConfig, build_policy
    from tasks.models.loading import save_model
    from tasks.models.tokens.tokenizer import train_tokenizer

    folder = tmp_path_factory.mktemp("models")
    tokenizer = train_tokenizer(iter(["ask one two"]), 260, folder / "tokenizer")
    shape = ArchitectureConfig(kind="llama", hidden_size=16, layers=2, heads=2, context=64)
    for seed, name in enumerate(("start", "learned")):
        save_model(build_policy(shape, tokenizer, seed), tokenizer, folder / name, "plain")
    return {name: folder / name for name in ("start", "learned")}


def test_weights_are_the_tempered_policies(models: dict[str, Path], tmp_path: Path) -> None:
    """The learned policy's are its log-ratio to the start, its optimum's reward over its own β."""
    from tasks.data.files import read_groups
    from tasks.models.policy import load_policy
    from tasks.models.scoring.group_scores import logps_groups
    from tasks.models.tokens.tokenizer import load_tokenizer

    samples = _samples(tmp_path / "samples")
    others = {"learned": models["learned"], "same": models["start"]}
    flat = measure_density(models["start"], others, samples, CONFIG, tmp_path, NullLog())
    kept = read_json(tmp_path / "density.json")
    assert len(kept["prompts"]) == flat["prompts"] == 2
    groups = list(read_groups(samples))[:2]
    logps = {
        name: logps_groups(
            load_policy(path), load_tokenizer(path), "plain", groups, Limits(), temperature=0.8
        )
        for name, path in models.items()
    }
    rewards = np.array([0.3 * k for k in range(5)])
    optimal, sharper = (np.exp(rewards / beta) for beta in (0.5, 0.25))
    optimal, sharper = optimal / optimal.sum(), sharper / sharper.sum()
    for row, found in enumerate(kept["prompts"]):
        ratio = np.exp(np.array(logps["learned"][row]) - np.array(logps["start"][row]))
        learned = ratio / ratio.sum()
        reverse = float((learned * np.log(learned / optimal)).sum())
        assert found["distances"]["learned"]["reverse_kl"] == pytest.approx(reverse, rel=1e-3)
        assert found["ratios"]["same"] == pytest.approx([1.0] * 9, rel=1e-4)
        for name, best in (("learned", optimal), ("same", sharper)):
            worth = found["distances"][name]["optimal_effective_samples"]
            assert worth == pytest.approx(1 / (best**2).sum())
        assert set(found["ratios"]) == {*others, "optimal, β = 0.5", "optimal, β = 0.25"}
        assert (found["grid"][0], found["grid"][-1]) == pytest.approx(
            (min(logps["start"][row]), max(logps["start"][row])), rel=1e-4
        )
        even = float((np.log(1 / 5) - np.log(sharper)).mean())
        assert found["distances"]["same"]["reverse_kl"] == pytest.approx(even, rel=1e-4)
    mean = np.mean([one["distances"]["learned"]["forward_kl"] for one in kept["prompts"]])
    assert flat["learned/forward_kl"] == pytest.approx(mean)


def test_a_bandwidth_that_is_given_is_used(models: dict[str, Path], tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"bandwidth": 1e4})
    samples = _samples(tmp_path / "samples")
    measure_density(
        models["start"], {"learned": models["learned"]}, samples, config, tmp_path, NullLog()
    )
    for found in read_json(tmp_path / "density.json")["prompts"]:
        assert found["bandwidth"] == 1e4
        # A kernel far wider than the samples lie apart sees no difference between densities.
        assert found["ratios"]["learned"] == pytest.approx([1.0] * 9, abs=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scored": False}, "has 5 samples and no scores"),
        ({"texts": ("one",)}, "has 1 samples and their scores"),
    ],
)
def test_unusable_samples_are_named(
    models: dict[str, Path], tmp_path: Path, change: dict[str, object], message: str
) -> None:
    samples = _samples(tmp_path / "samples", **change)
    with pytest.raises(ConfigError, match=message):
        measure_density(models["start"], {}, samples, CONFIG, tmp_path, NullLog())
    write_groups(tmp_path / "none", [])
    with pytest.raises(ConfigError, match="holds no group"):
        measure_density(models["start"], {}, tmp_path / "none", CONFIG, tmp_path, NullLog())
