"""The diagnostics of one TQR: figures, plots and a heat-map, written where people look."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tasks.data.files import read_groups
from tasks.data.groups import Group
from tasks.data.playground.world import World, load_world
from tasks.data.selection import sampled
from tasks.evaluation.ava.config import DiagnosisConfig
from tasks.evaluation.ava.diagnosis_report import Findings, write_diagnosis
from tasks.evaluation.ava.penalties import correlations, penalties_of
from tasks.evaluation.ava.positions import Positions, joined, read_positions, token_texts
from tasks.evaluation.ava.reward_numbers import Beginning, rewards_in_numbers
from tasks.evaluation.metrics.estimates import clustered_mean
from tasks.evaluation.metrics.rank_correlation import RankCorrelation
from tasks.evaluation.report.heat_map import ShownPair, ShownResponse, ShownToken
from tasks.models.scoring.tqr_scorer import TqrScorer
from tasks.models.tqr.group_tqr import output_shape
from tasks.settings.errors import ConfigError
from tasks.settings.log import Log


def diagnose(
    reward_model: Path,
    pairs: Path,
    world: Path | None,
    config: DiagnosisConfig,
    output: Path,
    log: Log,
    *,
    seed: int,
) -> dict[str, float]:
    """Look into a TQR on pairs, column 0 against each further column; the report is written.

    Args:
        reward_model: Folder of a TQR.
        pairs: Folder of groups.
        world: The playground's world.json, whose oracle says which tokens cost points.
        config: What is looked at.
        output: Receives the report and the heat-map.
        log: Where progress goes.
        seed: Of the shuffled control.

    Returns:
        The figures by name.

    Raises:
        ConfigError: The folder holds no TQR, no group has two responses, or the oracle does not
            know a prompt.
    """
    scorer = TqrScorer.load(reward_model, config.scoring, log)
    groups = [
        group
        for group in sampled(read_groups(pairs), config.most_groups)
        if len(group.responses) > 1
    ]
    if not groups:
        raise ConfigError(f"no group of {pairs} has two responses: rewards are looked at on pairs")
    positions = read_positions(scorer, groups)
    scores = scorer.score(groups)
    scorer.note_cut(log)
    costs = _penalties(scorer, groups, world) if world else None
    found = Findings(
        rewards_in_numbers(
            joined([one for row in positions for one in row]),
            joined([one for row in positions for one in row[1:]]),
            gamma=config.gamma,
            vocabulary=output_shape(scorer.tqr.model)[1],
        ),
        _beginnings(scorer, groups, scores, positions, config, log),
        _correlations(positions, costs, config, seed) if costs else {},
        len(groups),
    )
    examples = _examples(scorer, groups[: config.examples], scores, positions, costs)
    write_diagnosis(found, examples, scorer.tqr.heads.config, scorer.own, config.gamma, output)
    return found.metrics()


def _beginnings(
    scorer: TqrScorer,
    groups: list[Group],
    scores: list[list[float]],
    positions: list[list[Positions]],
    config: DiagnosisConfig,
    log: Log,
) -> list[Beginning]:
    """Measure the accuracy on beginnings that are scored as texts of their own, and on the whole.

    Two equal beginnings are a tie, and a tie is wrong.
    """
    longest = max(len(one.mean) for row in positions for one in row) - 1
    shown = sorted({tokens for tokens in config.prefix_tokens if tokens < longest})
    found = []
    for done, tokens in enumerate(shown, start=1):
        shown_part = scorer.showing(tokens)
        rows = shown_part.score(groups)
        found.append(_accuracy(str(tokens), tokens, shown_part, groups, rows))
        log.progress(done, len(shown), "lengths of beginnings")
    return [*found, _accuracy("whole", longest, scorer, groups, scores)]


def _accuracy(
    name: str,
    tokens: int,
    scorer: TqrScorer,
    groups: Sequence[Group],
    scores: Sequence[Sequence[float]],
) -> Beginning:
    margins = []
    for group, (best, *others) in zip(groups, scores, strict=True):
        first, *rest = scorer.encode(group).responses_ids
        # Arithmetic in batches may tell equal texts apart.
        margins.append(
            [0.0 if ids == first else best - other for ids, other in zip(rest, others, strict=True)]
        )
    return Beginning(
        name,
        tokens,
        clustered_mean([[gap > 0 for gap in row] for row in margins]),
        clustered_mean([[gap == 0 for gap in row] for row in margins]).value,
    )


def _penalties(scorer: TqrScorer, groups: list[Group], path: Path) -> list[list[list[float]]]:
    """Return what each token of each response costs by the oracle."""
    world = load_world(path)
    return [[_costs(scorer, world, group, place) for place in _places(group)] for group in groups]


def _costs(scorer: TqrScorer, world: World, group: Group, place: int) -> list[float]:
    response = group.responses[place]
    try:
        faults = world.faults(group.prompt, response)
    except ValueError as error:
        raise ConfigError(
            f"the playground's oracle cannot judge the group {group.title} ({error}): diagnose "
            "without it"
        ) from error
    return penalties_of(token_texts(scorer, group, place), response, faults)


def _correlations(
    positions: list[list[Positions]],
    costs: list[list[list[float]]],
    config: DiagnosisConfig,
    seed: int,
) -> dict[str, RankCorrelation]:
    means = [one.mean.tolist() for row in positions for one in row]
    penalties = [one for row in costs for one in row]
    return correlations(means, penalties, shuffles=config.shuffles, seed=seed)


def _examples(
    scorer: TqrScorer,
    groups: list[Group],
    scores: list[list[float]],
    positions: list[list[Positions]],
    costs: list[list[list[float]]] | None,
) -> list[ShownPair]:
    return [
        ShownPair(
            "\n".join(f"{role}: {content}" for role, content in group.prompt),
            [
                _shown(
                    "Better" if place == 0 else "Worse",
                    scores[row][place],
                    positions[row][place].mean.tolist(),
                    token_texts(scorer, group, place),
                    costs[row][place] if costs else None,
                )
                for place in _places(group)
            ],
        )
        for row, group in enumerate(groups)
    ]


def _shown(
    title: str, score: float, means: list[float], texts: list[str], costs: list[float] | None
) -> ShownResponse:
    """Put every reward on the token that its position has seen last."""
    start, *rewards = means
    penalties = costs or [0.0] * len(texts)
    tokens = [ShownToken(*parts) for parts in zip(texts, rewards, penalties, strict=True)]
    return ShownResponse(title, score, start, tokens)


def _places(group: Group) -> range:
    return range(len(group.responses))
