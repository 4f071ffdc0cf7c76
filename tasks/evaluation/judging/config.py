"""How a language model is asked to judge. Imports no torch."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from tasks.endpoints.config import EndpointConfig
from tasks.evaluation.judging.constrained import ConstrainedQuestion
from tasks.evaluation.judging.judge_questions import Question, QuestionName, get_question
from tasks.settings.base import FrozenConfig

HUMAN = ("chosen", "rejected")
"""The match that people have decided: the two responses of each test pair."""


def match_name(ours: str, theirs: str) -> str:
    """Return what a match of two sides is called.

    Example:
        >>> match_name(*HUMAN)
        'chosen vs rejected'
    """
    return f"{ours} vs {theirs}"


class CrossCheck(FrozenConfig):
    """A second opinion on each pair; a side wins only where both say so."""

    endpoint: EndpointConfig | None = None
    """A second judge, asked the same in both orders, with a budget of its own."""

    reward_model: str | None = None
    """Or a reward model that scored both sides, such as RM_Test."""

    @model_validator(mode="after")
    def _is_one(self) -> CrossCheck:
        if (self.endpoint is None) == (self.reward_model is None):
            raise ValueError("give `endpoint`, a second judge, or `reward_model`, and not both")
        return self

    @property
    def name(self) -> str:
        """What it is called in the report."""
        return self.endpoint.model if self.endpoint else str(self.reward_model)


class JudgeConfig(FrozenConfig):
    """A language model that compares answers, each pair in both orders."""

    endpoint: EndpointConfig
    """The server that is asked, its model, price and budget; that is of all matches of a run."""

    question: QuestionName = "helpful_harmless"
    """What is asked: helpful_harmless (APO's criteria; win, lose or tie), dialogue and summary
    (EXO's Tables 4 and 3), or instruction, which shows a golden answer beside the two, and is not
    asked of the chosen answers where they are the golden ones. Default: helpful_harmless."""

    prompts: int | None = Field(default=100, ge=1)
    """Prompts that are judged, a sample that is the same for every pair of policies, with one
    answer of each side. Default 100, as in both papers; null for all."""

    max_tokens: int = Field(default=400, ge=8)
    """Longest answer of the judge, tokens. One that is cut off has no last line, so no verdict."""

    temperature: float = Field(default=0.0, ge=0)
    """Of the judge's draws. Default 0: its likeliest words."""

    constrained: bool = False
    """Have the server hold the answer to a JSON schema, by the field `response_format` that OpenAI,
    vLLM and SGLang know, so that a small model comes to a verdict too. Default: free, in the form
    of the papers."""

    cross_check: CrossCheck | None = None
    """A second judge or a reward model: where it does not say the same, the pair is a tie, and
    where it says the opposite, that is counted. Default: none."""

    @property
    def asked(self) -> Question:
        """The question, with the form of its answer."""
        question = get_question(self.question)
        return ConstrainedQuestion.of(question) if self.constrained else question

    @property
    def parameters(self) -> dict[str, Any]:
        """What a request says beside its messages and limit."""
        asked, drawn = self.asked, {"temperature": self.temperature}
        if isinstance(asked, ConstrainedQuestion):
            return {**drawn, "response_format": asked.response_format()}
        return drawn

    @property
    def wants_reference(self) -> bool:
        """Whether golden answers are shown beside the two."""
        return get_question(self.question).wants_reference


class ChoiceConfig(FrozenConfig):
    """Who chooses among candidates."""

    judge: JudgeConfig | None = None
    """A judge; None where a reward model scored them."""

    dev_share: float = Field(default=0.2, ge=0, lt=1)
    """Share of the queries held out, as `gold.dev_share`."""

    @model_validator(mode="after")
    def _asks_without_reference(self) -> ChoiceConfig:
        if self.judge and self.judge.wants_reference:
            raise ValueError(
                f"the question {self.judge.question!r} shows a golden answer, which is what is "
                "chosen here: ask another one, or let the reward model choose"
            )
        return self
