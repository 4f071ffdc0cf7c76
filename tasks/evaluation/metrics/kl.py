"""How far a policy has moved from its reference."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.evaluation.metrics.estimates import as_floats, clustered_mean

if TYPE_CHECKING:
    from tasks.data.groups import Group
    from tasks.evaluation.metrics.estimates import Estimate, Grouped
    from tasks.models.tokens.encoding import Limits


def kl_to_reference(policy_logps: Grouped, reference_logps: Grouped) -> Estimate:
    """Estimate KL(policy || reference) from completions that the policy itself has sampled.

    A single estimate can fall below 0 by chance; the divergence cannot.

    Args:
        policy_logps: The log pi(y|x) of each completion of each prompt, nats, at the temperature
            the completions were sampled at. P lists.
        reference_logps: The same completions under the reference, at the same temperature.

    Returns:
        The mean of log pi - log pi_ref over completions, nats, with an error clustered by prompt.

    Raises:
        ValueError: If the two sides do not hold the same completions.

    Source:
        Section 5.1, arXiv 2402.00856 (EXO).

    Example:
        >>> kl_to_reference([[-1.0, -2.0], [-3.0, -1.0]], [[-2.0, -3.0], [-4.0, -2.0]])
        Estimate(value=1.0, standard_error=0.0, count=2)
    """
    sizes = [len(group) for group in policy_logps], [len(group) for group in reference_logps]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"policy ({sum(sizes[0])} completions of {len(sizes[0])} prompts) and reference "
            f"({sum(sizes[1])} of {len(sizes[1])}) do not hold the same completions"
        )
    groups = zip(policy_logps, reference_logps, strict=True)
    return clustered_mean([as_floats(a) - as_floats(b) for a, b in groups])


def sampled_logps(
    folder: Path,
    groups: Iterable[Group],
    template: str | None,
    limits: Limits,
    *,
    temperature: float,
) -> list[list[float]]:
    """Return the tempered log-probability of samples, on the tokens that were drawn.

    Args:
        folder: Model folder of a policy.
        groups: Samples that a policy with the same tokenizer drew.
        template: The policies' chat template by name; None for the tokenizer's own.
        limits: Longest prompt and response, tokens.
        temperature: The logits are divided by it.

    Returns:
        For each group in order, nats per response.
    """
    from tasks.models.policy import load_policy
    from tasks.models.scoring.group_scores import logps_groups
    from tasks.models.tokens.tokenizer import load_tokenizer

    # As stored, a start in bfloat16 would be off its descendant in float32 by rounding alone.
    model = load_policy(folder, dtype="float32")
    tokenizer = load_tokenizer(folder)
    # Decoded and encoded again, a sample may be another one, which no longer is the policy's.
    return logps_groups(
        model, tokenizer, template, groups, limits, temperature=temperature, as_sampled=True
    )
