"""How the flow `apo` measures its policies and reward models. Imports no torch."""

from __future__ import annotations

from pydantic import Field

from tasks.evaluation.config import EvaluationConfig
from tasks.models.sampling.config import SamplingConfig


class ApoEvaluation(EvaluationConfig):
    """How policies and reward models are measured."""

    sampling: SamplingConfig = SamplingConfig(
        temperature=0.3, top_k=5, top_p=0.85, max_new_tokens=256
    )
    """How the policy answers test queries. Default: APO's release (T 0.3, top-k 5,
    top-p 0.85), with 256 new tokens, which fits the default limits, where it has 512."""

    max_queries: int | None = Field(default=None, ge=1)
    """Test queries that policies answer, a sample of so many; default all."""

    kl_queries: int = Field(default=512, ge=1)
    """Test queries for KL(policy‖start). Default 512: EXO, appendix C."""

    kl_samples: int = Field(default=4, ge=1)
    """Completions per query for the KL, drawn at temperature 1. Default 4: EXO, appendix C."""

    def draws(self, *, for_kl: bool = False) -> SamplingConfig:
        """Return how test queries are sampled; a KL needs the untruncated distribution."""
        if not for_kl or self.is_untruncated:
            return self.sampling
        return self.sampling.model_copy(
            update={"samples": self.kl_samples, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
        )

    @property
    def is_untruncated(self) -> bool:
        """Whether the test samples follow the policy itself, so that they also estimate its KL."""
        draws = self.sampling
        return draws.temperature == 1.0 and not draws.top_k and draws.top_p in (None, 1.0)
