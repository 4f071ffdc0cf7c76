"""The flow `judge`: which of two sides' answers a language model prefers, pair by pair.

It is run by `sparring judge`. Policies that answered already are not sampled again, and what a
judge was asked once is not paid again.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from flows.configs.judge import JudgedSide, JudgeRunConfig
from flows.runs.flow_decorator import sparring_flow
from flows.steps.inputs import file_artifact, model_artifact
from tasks.data.sources.config import SourceConfig
from tasks.evaluation.judging.config import HUMAN, match_name
from tasks.import_groups import import_groups
from tasks.judge_responses import judge_responses
from tasks.sample_responses import sample_responses
from tasks.score_responses import score_responses
from tasks.settings.errors import ConfigError
from tasks.stages.artifact import Artifact
from tasks.stages.runs.context import current_run
from tasks.stages.runs.references import referenced_artifact
from tasks.write_judge_report import write_judge_report


class Answers(NamedTuple):
    """What is judged: both sides' answers, and the prompts with answers of their own."""

    ours: Artifact
    """Folder of groups."""
    theirs: Artifact
    """The opponent's."""
    references: Artifact | None
    """Groups of the same prompts, golden or chosen answers first; None where none are known."""


@sparring_flow
def judge(config: JudgeRunConfig) -> Artifact:
    """1. Gather or sample both sides' answers. 2. Judge each pair in both orders. 3. Report it."""
    ours, theirs, references = gather_answers(config)
    scores = _scores(config, ours, config.ours.name), _scores(config, theirs, config.theirs.name)
    gold = references if config.judge.wants_reference else None
    name = match_name(config.ours.name, config.theirs.name)
    matches = {
        name: judge_responses(
            ours, theirs, gold, *scores, config=config.judge, seed=config.seed, label=name
        )
    }
    if config.people:
        assert references is not None, "checked where the answers are gathered"
        people = match_name(*HUMAN)
        matches[people] = judge_responses(
            references,
            None,
            gold,
            _scores(config, references, people),
            {},
            config=config.judge,
            seed=config.seed,
            label=people,
        )
    return write_judge_report(matches, config=config.judge, label=name)


def gather_answers(config: JudgeRunConfig) -> Answers:
    """Return the answers of both sides, sampled where they are not there.

    Raises:
        ConfigError: A file or a model is missing, or nobody knows answers that the judge needs.
    """
    prompts = _imported(config.prompts, "prompts") if config.prompts else None
    references = prompts
    if prompts is None and config.references:
        references = _artifact(config.references, "prompts")
    if references is None and (config.people or config.judge.wants_reference):
        raise ConfigError(
            "the judge is to see answers of the prompts' own, and none are known: give a file "
            "that has them with --prompts"
        )
    ours, theirs = (_answers(config, side, prompts) for side in (config.ours, config.theirs))
    return Answers(ours, theirs, references)


def _answers(config: JudgeRunConfig, side: JudgedSide, prompts: Artifact | None) -> Artifact:
    if side.file is not None:
        return _imported(side.file, side.name)
    if side.answers:
        return _artifact(side.answers, side.name)
    assert prompts is not None, "a policy is named only with prompts"
    is_folder = Path(side.policy).is_dir()
    policy = (
        model_artifact(side.policy, side.rollout.template, side.name)
        if is_folder
        else _artifact(side.policy, side.name)
    )
    one_each = side.rollout.sampling.model_copy(update={"samples": 1})
    rollout = side.rollout.model_copy(
        update={"sampling": one_each, "max_queries": config.judge.prompts}
    )
    return sample_responses(policy, prompts, config=rollout, seed=config.seed, label=side.name)


def _scores(config: JudgeRunConfig, answers: Artifact, name: str) -> dict[str, Artifact]:
    return {
        tester: score_responses(
            _artifact(one.model, tester),
            answers,
            config=one.scoring,
            label=f"{name} by {tester}",
        )
        for tester, one in config.testers.items()
    }


def _imported(source: SourceConfig, label: str) -> Artifact:
    file = file_artifact(source.path)
    assert file is not None, "checked where the names were read"
    return import_groups(file, config=source, label=label)


def _artifact(reference: str, label: str) -> Artifact:
    """Return what `STAGE/KEY`, or `STAGE/KEY/PART`, means."""
    stage, key, *part = reference.split("/", 2)
    whole = referenced_artifact(current_run().home, f"{stage}/{key}", label, said_by=label)
    return whole.part(part[0]) if part else whole
