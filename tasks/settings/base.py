"""The base of every config: frozen, strict about keys, documented field by field."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Final, Self, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_core.core_schema import ErrorType

from tasks.settings.errors import closest

_STANDARD = frozenset(get_args(ErrorType))

NOT_IN_KEY: Final = "not in the key"
"""Marks a field that cannot change a result, as in `save_every: Annotated[int, NOT_IN_KEY]`.

What is done stays done when such a field changes. A field that can only stop a run belongs to the
key all the same where a finished result would hide that it was to be stopped.
"""

Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""A seed of random choices, as the libraries take it: a whole number below 2 to the power of 32."""

GPUS: Final = "GPUs"
"""Marks a field that says how many GPUs of one machine a stage uses at once."""


class FrozenConfig(BaseModel):
    """A part of a run's configuration.

    It is checked when it is made, never changes, and refuses a key it does not know, naming the
    one that was probably meant. The docstring under each field is its help text and appears in
    the JSON schema, which Prefect shows as a form.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    def in_key(self) -> Self:
        """Return what of it can change a result: itself, but where one field turns others off."""
        return self

    @field_validator("*", mode="before")
    @classmethod
    def _no_number_is_true(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse `true` where a number is wanted; pydantic would take it for 1."""
        kinds = _kinds(cls.model_fields[str(info.field_name)].annotation)
        if isinstance(value, bool) and kinds & {int, float} and bool not in kinds:
            raise PydanticCustomError("boolean_number", "expected a number, not true or false")
        return value

    @model_validator(mode="wrap")
    @classmethod
    def _name_unknown_keys(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Replace pydantic's words about an unknown key by ours, leaving all else."""
        try:
            return handler(data)
        except ValidationError as error:
            problems = error.errors()
            if not any(_is_unknown_key(problem) for problem in problems):
                raise
            raise ValidationError.from_exception_data(
                cls.__name__, [_rewritten(problem, cls) for problem in problems]
            ) from None


def _kinds(annotation: Any) -> set[Any]:
    """Return the types that a field takes: itself, or the members of a union."""
    if get_origin(annotation) in (Union, UnionType):
        return {get_origin(one) or one for one in get_args(annotation)}
    return {get_origin(annotation) or annotation}


def key_settings(value: Any) -> Any:
    """Return a config as plain values, without what cannot change a result.

    Args:
        value: A config, or any value that pydantic can dump as JSON.
    """
    return _pruned(value, value.model_dump(mode="json")) if isinstance(value, BaseModel) else value


def _pruned(value: Any, plain: Any) -> Any:
    """Return the plain form of a value as it stands in a key, with the models inside."""
    if isinstance(value, FrozenConfig) and (counting := value.in_key()) is not value:
        value, plain = counting, counting.model_dump(mode="json")
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        kept = {name for name in plain if NOT_IN_KEY not in fields[name].metadata}
        return {name: _pruned(getattr(value, name), plain[name]) for name in plain if name in kept}
    if isinstance(value, (list, tuple)):
        return [_pruned(*pair) for pair in zip(value, plain, strict=True)]
    if isinstance(value, dict):
        items = zip(value.values(), plain.items(), strict=True)
        return {name: _pruned(inner, item) for inner, (name, item) in items}
    return plain


def unknown_key_text(key: str, model: type[BaseModel]) -> str:
    """Return the sentence about a key that `model` does not have."""
    known = [field.alias or name for name, field in model.model_fields.items()]
    match = closest(key, known)
    question = f"; did you mean {match!r}?" if match else ";"
    return f"unknown key {key!r} in {model.__name__}{question} known keys: {', '.join(known)}"


def _is_unknown_key(problem: Any) -> bool:
    """Tell whether a problem is an unknown key of the model itself, not of a model inside it."""
    return problem["type"] == "extra_forbidden" and len(problem["loc"]) == 1


def _rewritten(problem: Any, model: type[BaseModel]) -> InitErrorDetails:
    """Return a problem in the form that pydantic can raise again, in our words if it is ours."""
    kind: str | PydanticCustomError = problem["type"]
    if _is_unknown_key(problem):
        text = unknown_key_text(str(problem["loc"][0]), model)
        kind = PydanticCustomError("unknown_key", "{text}", {"text": text})
    elif kind not in _STANDARD:
        kind = PydanticCustomError(problem["type"], "{text}", {"text": problem["msg"]})
    details = InitErrorDetails(type=kind, loc=problem["loc"], input=problem["input"])
    if isinstance(kind, str) and "ctx" in problem:
        details["ctx"] = problem["ctx"]
    return details
