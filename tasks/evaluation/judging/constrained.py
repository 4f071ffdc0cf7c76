"""A judge whose server holds its answer to a form: JSON with a comparison and a choice."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from tasks.evaluation.judging.judge_questions import Question, Verdict

_LONGEST_COMPARISON = 200
"""Characters; a small model might never come to its choice otherwise."""


class _Answer(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    comparison: str
    choice: str


@dataclass(frozen=True, slots=True)
class ConstrainedQuestion(Question):
    """A question whose answer is JSON by a schema that goes with the request."""

    @classmethod
    def of(cls, question: Question) -> Self:
        """Return a question of the papers with the form of its answer replaced by the schema's."""
        choices = ", ".join(f'"{choice}"' for choice in question.choices)
        form = (
            '\n\nWrite your answer as one JSON object in place of that format: "comparison" is '
            f'your explanation in one sentence, "choice" is one of {choices}.'
        )
        return cls(**{**asdict(question), "text": question.text + form})

    def response_format(self) -> dict[str, Any]:
        """Return the field of a request that OpenAI, vLLM and SGLang know."""
        properties = {
            "comparison": {"type": "string", "maxLength": _LONGEST_COMPARISON},
            "choice": {"type": "string", "enum": list(self.choices)},
        }
        schema = {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
        return {
            "type": "json_schema",
            "json_schema": {"name": "verdict", "strict": True, "schema": schema},
        }

    def read(self, answer: str) -> Verdict | None:
        """Return what a judge said; None where it is not JSON by the schema, and nothing else.

        Example:
            >>> from tasks.evaluation.judging.judge_questions import QUESTIONS
            >>> question = ConstrainedQuestion.of(QUESTIONS["helpful_harmless"])
            >>> question.read('{"comparison": "Both are kind.", "choice": "tie"}')
            'tie'
            >>> question.read("Better: tie")
        """
        try:
            return self.choices.get(_Answer.model_validate_json(answer).choice)
        except ValidationError:
            return None
