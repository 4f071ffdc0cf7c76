"""The base of configs: frozen, strict, documented, and at home in Prefect."""

from typing import Any, Literal

import pytest
from pydantic import ValidationError, field_validator

from tasks.settings.base import FrozenConfig


class Inner(FrozenConfig):
    """The inside."""

    method: Literal["dpo", "rjs"] = "dpo"
    """How to learn."""
    rate: float = 1e-5

    @field_validator("rate")
    @classmethod
    def _positive(cls, rate: float) -> float:
        if rate <= 0:
            raise ValueError(f"rate must be positive, got {rate}")
        return rate


class Outer(FrozenConfig):
    """The outside."""

    policy: Inner = Inner()
    """The policy's part."""
    epochs: int = 1
    """Rounds of the game."""
    sources: list[Inner] = []


def test_is_frozen_and_equal_by_value() -> None:
    config = Outer(epochs=2)
    assert config == Outer(epochs=2) and hash(Inner()) == hash(Inner())
    with pytest.raises(ValidationError, match="frozen"):
        config.epochs = 3  # type: ignore[misc]


def test_unknown_key_is_named_with_the_one_meant() -> None:
    with pytest.raises(ValidationError) as caught:
        Outer(polcy=1)  # type: ignore[call-arg]
    problem = caught.value.errors()[0]
    assert problem["loc"] == ("polcy",)
    assert problem["msg"] == (
        "unknown key 'polcy' in Outer; did you mean 'policy'? known keys: policy, epochs, sources"
    )


@pytest.mark.parametrize("value", [True, False])
def test_true_is_no_number(value: bool) -> None:
    class Mixed(FrozenConfig):
        share: float | None = None
        either: int | bool = 0
        asked: bool = False

    with pytest.raises(ValidationError, match="expected a number, not true or false"):
        Outer(epochs=value)
    with pytest.raises(ValidationError, match="share"):
        Mixed(share=value)
    assert Mixed(either=value, asked=value).either is value


def test_all_problems_are_kept_at_every_level() -> None:
    tree: dict[str, Any] = {
        "policy": {"metod": "dpo", "rate": -1},
        "sources": [{}, {"x{0}": 1, "method": "no"}],
        "epochs": "two",
        "epoch": 1,
    }
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(tree)
    found = {problem["loc"]: problem for problem in caught.value.errors()}
    assert {location: problem["type"] for location, problem in found.items()} == {
        ("policy", "metod"): "unknown_key",
        ("policy", "rate"): "value_error",
        ("sources", 1, "x{0}"): "unknown_key",
        ("sources", 1, "method"): "literal_error",
        ("epochs",): "int_parsing",
        ("epoch",): "unknown_key",
    }
    assert found[("policy", "rate")]["msg"] == "Value error, rate must be positive, got -1.0"
    assert found[("sources", 1, "method")]["msg"] == "Input should be 'dpo' or 'rjs'"
    assert found[("sources", 1, "x{0}")]["msg"].startswith("unknown key 'x{0}' in Inner; known")
    assert found[("epoch",)]["input"] == 1
    assert tree["policy"] == {"metod": "dpo", "rate": -1}


@pytest.mark.parametrize("rate", [float("nan"), float("inf")])
def test_numbers_are_finite(rate: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        Inner(rate=rate)


def test_schema_carries_the_docstrings() -> None:
    schema = Outer.model_json_schema()
    assert schema["properties"]["epochs"]["description"] == "Rounds of the game."
    assert schema["$defs"]["Inner"]["properties"]["method"]["description"] == "How to learn."
    assert schema["additionalProperties"] is False


def test_is_a_prefect_flow_parameter() -> None:
    from prefect import flow
    from prefect.exceptions import ParameterTypeError
    from prefect.utilities.callables import parameter_schema

    def run(config: Outer) -> None:
        """Do nothing."""

    schema = parameter_schema(run).model_dump_for_openapi()
    fields = schema["definitions"]["Outer"]["properties"]
    assert fields["epochs"]["description"] == "Rounds of the game."
    wrapped = flow(run)
    rebuilt = wrapped.validate_parameters({"config": {"policy": {"rate": 0.5}}})
    assert rebuilt == {"config": Outer(policy=Inner(rate=0.5))}
    with pytest.raises(ParameterTypeError, match="did you mean 'policy'"):
        wrapped.validate_parameters({"config": {"polcy": {}}})
