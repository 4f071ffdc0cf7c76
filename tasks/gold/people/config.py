"""People who are asked: where, and how many of them."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import Field, model_validator

from tasks.endpoints.config import check_url
from tasks.settings.base import NOT_IN_KEY, FrozenConfig
from tasks.settings.errors import ConfigError


class LabelStudioConfig(FrozenConfig):
    """A Label Studio in which people answer; it is driven over its HTTP interface alone."""

    url: str = "http://127.0.0.1:8080"
    """Where it is; https, but on this machine. `SPARRING_ENDPOINTS` allows no others."""
    token: str = Field(default="LABEL_STUDIO_TOKEN", pattern=r"^([A-Z][A-Z0-9_]*_)?TOKEN$")
    """Name of the environment variable that holds an access token of its page *Account & Settings*,
    personal or legacy; it ends in `TOKEN`. The token itself never stands in a file."""
    request_seconds: float = Field(default=60.0, gt=0)
    """How long it may be silent."""

    @model_validator(mode="after")
    def _is_allowed(self) -> LabelStudioConfig:
        check_url(self.url)
        return self

    def token_value(self) -> str:
        """Return the token.

        Raises:
            ConfigError: Its variable is not set.
        """
        if value := os.environ.get(self.token, "").strip():
            return value
        raise ConfigError(
            f"the environment variable {self.token} is not set: it must hold an access token of "
            f"the Label Studio at {self.url}"
        )


class PeopleConfig(FrozenConfig):
    """People who answer questions, each on their own."""

    folder: Annotated[str, NOT_IN_KEY] = "people"
    """Folder that gets a folder for each set of questions, with the questions as JSONL and CSV, and
    `answers/`, where people put what they hand in."""
    quorum: int = Field(default=1, ge=1)
    """Different people who have to answer a question. Default 1."""
    enough: float = Field(default=1.0, gt=0, le=1)
    """Share of the questions that need their quorum before the run goes on. Default: all."""
    instructions: str = ""
    """What people are told beside each question. Default: a sentence of our own."""
    label_studio: Annotated[LabelStudioConfig | None, NOT_IN_KEY] = None
    """A Label Studio that shows the questions on a page. Files are taken as well. Default: none."""
