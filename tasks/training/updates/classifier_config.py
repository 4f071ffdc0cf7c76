"""How the text classifier is trained. Imports no library: `sparring plan` reads it."""

from __future__ import annotations

from pydantic import Field

from tasks.settings.base import FrozenConfig


class ClassifierConfig(FrozenConfig):
    """A logistic regression on hashed word n-grams."""

    ngrams: int = Field(default=2, ge=1, le=5)
    """Longest run of words that is one feature; shorter ones are features too."""

    features: int = Field(default=1 << 18, ge=2, le=1 << 24)
    """Places that n-grams are hashed into. Default 262,144: more gained nothing on IMDB."""

    inverse_regularisation: float = Field(default=10.0, gt=0)
    """C of scikit-learn's logistic regression: larger fits closer and gives larger log-odds."""

    max_iterations: int = Field(default=200, ge=1)
    """Most steps of L-BFGS."""

    limit: int | None = Field(default=None, ge=1)
    """Train on so many texts, chosen by the hash of their text; None for all."""

    least_accuracy: float = Field(default=0.85, ge=0, le=1)
    """Share of held-out texts that must be classified rightly, or the stage fails. Default: what
    an oracle of the IMDB experiment must reach."""
