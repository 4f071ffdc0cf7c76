"""The coefficients of every method side by side, so that another method needs no other file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pydantic import AliasChoices, Field, SerializerFunctionWrapHandler, create_model
from pydantic.functional_serializers import model_serializer

from tasks.settings.base import FrozenConfig
from tasks.training.methods.method import NoCoefficients
from tasks.training.methods.registry import GROUP_METHODS


class CoefficientsByMethod(FrozenConfig):
    """Coefficients under the name of their method; those of the method in use count."""

    def of(self, method: str) -> FrozenConfig:
        """Return the coefficients of a method, by its name: those given, else its paper's."""
        return getattr(self, method) if method in type(self).model_fields else NoCoefficients()

    def only(self, method: str) -> Self:
        """Return these without those of other methods."""
        named = {method} & type(self).model_fields.keys()
        return type(self)(**{name: getattr(self, name) for name in named})

    def spelt_out(self, method: str) -> Self:
        """Return these with what is not given of a method written down too."""
        named = {method} & type(self).model_fields.keys()
        return self.model_copy(update={name: getattr(self, name) for name in named})

    @model_serializer(mode="wrap")
    def _given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        plain = handler(self)
        return {name: values for name, values in plain.items() if name in self.model_fields_set}


if TYPE_CHECKING:
    GroupCoefficients = CoefficientsByMethod
else:
    GroupCoefficients = create_model(
        "CoefficientsByMethod",
        __base__=CoefficientsByMethod,
        __doc__=CoefficientsByMethod.__doc__,
        __module__=__name__,
        **{
            name: (
                method.coefficients,
                Field(
                    default=method.coefficients(),
                    validation_alias=AliasChoices(name, *method.aliases),
                    description=method.coefficients.__doc__,
                ),
            )
            for name, method in GROUP_METHODS.items()
            if method.coefficients is not NoCoefficients
        },
    )
"""Coefficients of the methods that are trained on groups of responses, one field each."""
