"""Two metrics of a judge's scores beside their mean: the share it calls good, and their spread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tasks.evaluation.metrics.estimates import Estimate, as_floats, clustered_mean, mean_estimate

if TYPE_CHECKING:
    from tasks.evaluation.metrics.estimates import Grouped


def classifier_accuracy(scores: Grouped) -> Estimate:
    """Return the mean probability that a classifier gives its positive class.

    Args:
        scores: Log-odds of each completion of each prompt, nats. P lists.

    Returns:
        The mean of σ(score) over completions, in [0, 1], with an error clustered by prompt.

    Source:
        Appendix D.2, arXiv 2402.00856 (EXO): the sigmoid of the oracle reward, Figure 7.

    Example:
        >>> classifier_accuracy([[0.0, 0.0], [0.0]]).value
        0.5
    """
    # Through tanh: exp of a large negative score would overflow.
    return clustered_mean([((1 + np.tanh(as_floats(row) / 2)) / 2).tolist() for row in scores])


def mean_spread(scores: Grouped) -> Estimate:
    """Return the standard deviation of a prompt's scores, averaged over prompts.

    Args:
        scores: Scores of each completion of each prompt, reward units. P lists; a prompt with a
            single completion has no spread and is left out.

    Returns:
        The mean over prompts of s with K − 1 in its denominator; 0 without such prompts.

    Source:
        Appendix D.3, arXiv 2402.00856 (EXO): the deviation of Figure 8.

    Example:
        >>> mean_spread([[0.0, 2.0], [5.0], [3.0, 3.0]]).value == 2**0.5 / 2
        True
    """
    return mean_estimate([as_floats(row).std(ddof=1) for row in scores if len(row) > 1])
