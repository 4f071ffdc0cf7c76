"""From file and overrides to a checked config, and sentences for everything that is wrong."""

import copy
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field, SecretStr

from tasks.settings.base import FrozenConfig
from tasks.settings.errors import ConfigError
from tasks.settings.loading import apply_overrides, dump_config, load_config, validate


class Source(FrozenConfig):
    """Where records come from."""

    path: str
    limit: int | None = None


class Policy(FrozenConfig):
    """How the policy learns."""

    method: Literal["dpo", "rjs"] = "dpo"
    rate: float = Field(1e-5, gt=0)
    api_key: SecretStr | None = None


class Run(FrozenConfig):
    """A run."""

    policy: Policy = Policy()
    sources: list[Source] | Literal["chosen"] = "chosen"
    rates: dict[int, float] = {}
    note: str = ""


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """Return the path of a config that is not written yet."""
    return tmp_path / "run.yaml"


def test_variables_are_expanded_in_strings_only(
    config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA", "/d: *x")
    monkeypatch.setenv("EMPTY", "")
    text = "a:\n- p: ${DATA}/x${EMPTY}\n  $${DATA}: 1\nb: $${DATA} $5 $\n"
    config_file.write_text(text)
    assert load_config(config_file) == {
        "a": [{"p": "/d: *x/x", "$${DATA}": 1}],
        "b": "${DATA} $5 $",
    }


def test_unset_variable_names_file_key_and_remedy(
    config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HH_DIR", raising=False)
    config_file.write_text("data:\n  preferences:\n  - path: ${HH_DIR}/x\n")
    with pytest.raises(ConfigError) as caught:
        load_config(config_file)
    assert str(caught.value) == (
        f"{config_file}: data.preferences.0.path uses ${{HH_DIR}}, which is not set in the "
        "environment; export HH_DIR=… or write the value itself"
    )
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["${}", "${A", "${A:-x}", "${1}"])
def test_malformed_variable(config_file: Path, text: str) -> None:
    config_file.write_text(f"a: '{text}'\n")
    with pytest.raises(ConfigError, match=r"a has .*; write \$\{NAME\}"):
        load_config(config_file)


def test_files_that_cannot_be_read(config_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no file .*/run.yaml; check the path"):
        load_config(config_file)
    config_file.write_text("")
    assert load_config(config_file) == {}
    with pytest.raises(ConfigError, match=r"did you mean .*/run\.yaml\?"):
        load_config(tmp_path / "rum.yaml")
    config_file.write_bytes(b"a: \xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(config_file)
    config_file.write_text("- 1")
    with pytest.raises(ConfigError, match="holds a list"):
        load_config(config_file)
    config_file.write_bytes(b"#" * 1_000_001)
    with pytest.raises(ConfigError, match="larger than 1000000"):
        load_config(config_file)
    with pytest.raises(ConfigError, match="directory"):
        load_config(tmp_path)


def test_overrides() -> None:
    tree: dict[str, Any] = {"policy": {"rate": 1.0}, "sources": [{"path": "a"}], "note": "x"}
    before = copy.deepcopy(tree)
    changed = apply_overrides(
        tree,
        ["policy.rate=1e-6", "policy.method=rjs", "sources.0.limit=3", "rates={1: 0.5}",
         "note=a=b", "new.deep.er=[1, {x: 2}]", "note.sub=", "sources.0.path='1'"],
    )  # fmt: skip
    assert changed == {
        "policy": {"rate": 1e-6, "method": "rjs"},
        "sources": [{"path": "1", "limit": 3}],
        "rates": {"1": 0.5},
        "note": {"sub": None},
        "new": {"deep": {"er": [1, {"x": 2}]}},
    }
    assert tree == before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("policy.rate", "not of the form a.b=c"),
        ("=1", "not of the form"),
        ("a..b=1", "not of the form"),
        ("a=[1", "not valid YAML"),
        ("a=!!python/name:os.system", "not allowed"),
        ("sources.1.path=x", "'1' is not a place"),
        ("sources.x=1", "a list of 1"),
        ("a=${NOT_SET_ANYWHERE}", "--set a uses"),
    ],
)
def test_bad_overrides_are_quoted(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        apply_overrides({"sources": [{}]}, [override])
    assert "--set" in str(caught.value)


def test_valid_tree() -> None:
    tree = {"policy": {"rate": "1e-6"}, "sources": [{"path": "a"}], "rates": {"1": 0.5}}
    config = validate(Run, tree, "run.yaml")
    assert config.policy.rate == 1e-6 and config.rates == {1: 0.5}
    assert config.sources == [Source(path="a")]


@pytest.mark.parametrize(
    ("tree", "lines"),
    [
        (
            {"polcy": {}},
            ["unknown key 'polcy' in Run; did you mean 'policy'? "
             "known keys: policy, sources, rates, note"],
        ),
        (
            {"policy": {"metod": "dpo", "rate": 0}},
            ["policy.rate: got 0; it should be greater than 0",
             "policy.metod: unknown key 'metod' in Policy; did you mean 'method'? "
             "known keys: method, rate, api_key"],
        ),
        (
            {"policy": {"method": "dop"}},
            ["policy.method: got 'dop'; it should be 'dpo' or 'rjs'; did you mean 'dpo'?"],
        ),
        (
            {"sources": [{"path": "a"}, {"pth": 1}]},
            ["sources.1.path is missing; add it",
             "sources.1.pth: unknown key 'pth' in Source; did you mean 'path'? "
             "known keys: path, limit"],
        ),
        (
            {"sources": "chosn"},
            ["sources: got 'chosn'; it should be a valid list, or it should be 'chosen'; "
             "did you mean 'chosen'?"],
        ),
        (
            {"rates": {"1": "x"}},
            ["rates.1: got 'x'; it should be a valid number, unable to parse string as a number"],
        ),
        ({"note": ["y" * 200]}, [f"note: got ['{'y' * 77}…; it should be a valid string"]),
        (
            {"policy": {"api_key": ["s3cret"]}},
            ["policy.api_key: got a hidden value; it should be a valid string"],
        ),
        ({"policy": 3}, ["policy: got 3; it should be a valid dictionary or instance of Policy"]),
    ],
)  # fmt: skip
def test_one_sentence_per_problem(tree: dict[str, Any], lines: list[str]) -> None:
    before = copy.deepcopy(tree)
    with pytest.raises(ConfigError) as caught:
        validate(Run, tree, "run.yaml")
    assert str(caught.value).splitlines() == [f"run.yaml: {line}" for line in lines]
    assert tree == before


def test_dumped_config_is_read_back(config_file: Path) -> None:
    config = Run(sources=[Source(path="no", limit=3)], rates={1: 1e-5}, note="${HOME} 1e-5\n é: #x")
    config_file.write_text(dump_config(config))
    assert validate(Run, load_config(config_file), "run.yaml") == config


def test_dump_hides_secrets() -> None:
    text = dump_config(Run(policy=Policy(api_key=SecretStr("s3cret"))))
    assert "s3cret" not in text and "*****" in text
