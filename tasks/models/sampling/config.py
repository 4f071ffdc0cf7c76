"""How a policy is sampled: what is drawn, and in this process or by a model server.

Imports no torch: configs are read by `sparring plan`.
"""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from tasks.models.precision import Precision
from tasks.settings.base import GPUS, NOT_IN_KEY, FrozenConfig
from tasks.settings.errors import did_you_mean

_BLANK = re.compile(r"\{(\w+)\}")
_BLANKS = ("model", "port", "gpus")
MANY_UNFINISHED = 0.2
"""Above this share, responses that the limit cuts off before they end are told."""


class ServerConfig(FrozenConfig):
    """A server with OpenAI's completions interface that a stage starts, asks and stops."""

    command: tuple[str, ...] = Field(min_length=1)
    """The program and its arguments, as a list or as one line in a shell's quoting (no shell runs
    it). `{model}` becomes the policy's folder, `{port}` a free port, which must occur, and `{gpus}`
    the number below. `vllm serve {model} --host 127.0.0.1 --port {port}`, or
    `transformers serve {model} --host 127.0.0.1 --port {port} --device cpu`."""
    gpus: Annotated[int, NOT_IN_KEY, GPUS] = Field(default=1, ge=1)
    """GPUs that the stage takes for the server where its machine has any, and the only ones that it
    sees. More than one must be asked for in the command too: `--tensor-parallel-size {gpus}`."""
    environment: dict[str, str] = {}
    """Variables for the server beside those of this process, such as `VLLM_CPU_KVCACHE_SPACE`.
    Not for secrets: they would be recorded with the run."""
    model_name: str | None = None
    """What requests call the model; default the policy's folder, as both servers above expect."""
    ready_seconds: Annotated[float, NOT_IN_KEY] = Field(default=600.0, gt=0)
    """How long the server may take until it answers, loading the model included."""
    concurrency: int = Field(default=16, ge=1)
    """Requests in flight, one response each. A server that batches wants many; with 1, a server
    that seeds each request draws the same again."""
    request_seconds: Annotated[float, NOT_IN_KEY] = Field(default=600.0, gt=0)
    """How long one response may take, its time in the server's queue included."""
    retries: Annotated[int, NOT_IN_KEY] = Field(default=5, ge=0)
    """Further attempts at a response after an error that may pass: 429, 5xx, a lost connection, a
    timeout, an answer that makes no sense. They wait 1, 2, 4 … seconds, at most 30, jittered."""

    @field_validator("command", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(shlex.split(value)) if isinstance(value, str) else value

    @field_validator("command")
    @classmethod
    def _check_blanks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        blanks = [name for part in value for name in _BLANK.findall(part)]
        for name in blanks:
            if name not in _BLANKS:
                raise ValueError(f"{{{name}}} means nothing here{did_you_mean(name, _BLANKS)}")
        if "port" not in blanks:
            raise ValueError("no {port} in it: the stage chooses a free port and must tell it")
        return value

    def filled_command(self, model: str, port: int) -> list[str]:
        """Return the program and its arguments with the policy's folder and a port filled in."""
        values = {"model": model, "port": str(port), "gpus": str(self.gpus)}
        return [_BLANK.sub(lambda blank: values[blank[1]], part) for part in self.command]


class SamplingConfig(FrozenConfig):
    """How a policy is sampled."""

    samples: int = Field(4, ge=1)
    """Responses per prompt (S)."""
    temperature: float = Field(1.0, ge=0.0)
    """Logits are divided by it; 0 is greedy."""
    top_k: int = Field(0, ge=0)
    """Draw among the k likeliest tokens; 0 is all."""
    top_p: float = Field(1.0, gt=0.0, le=1.0)
    """Draw among the likeliest tokens that together have this probability; 1 is all."""
    max_new_tokens: int = Field(256, ge=1)
    """Longest response, tokens, EOS included."""
    stop: tuple[str, ...] = ()
    """Strings that end a response, beside those of the chat template; they are cut off."""
    batch_tokens: int = Field(65_536, ge=1)
    """Tokens whose keys and values a batch holds at most: each prompt once and `max_new_tokens` of
    each sample. Changes the speed, not the draws; a single prompt may need more."""
    shard_size: int = Field(256, ge=1)
    """Prompts per shard, the unit that a killed stage resumes from."""
    precision: Precision = "auto"
    """What weights, keys and values are held in; draws are fp32. auto: bf16 where the processor has
    it (CUDA, or AVX-512-BF16 or AMX on a CPU), else fp32."""
    stall_seconds: Annotated[float, NOT_IN_KEY] = Field(600.0, gt=0)
    """Without a new token for so long, sampling counts as stuck and the stage fails."""
    engine: Literal["own", "server"] = "own"
    """own: this process. server: a model server that the stage starts, see `server`; it draws with
    its own random numbers and precision."""
    server: ServerConfig | None = None
    """The server of engine `server`."""

    @field_validator("stop")
    @classmethod
    def _no_empty_stop(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "" in value:
            raise ValueError("a stop string is empty, which would end every response at once")
        return value

    @model_validator(mode="after")
    def _server_where_used(self) -> SamplingConfig:
        if (self.engine == "server") != (self.server is not None):
            raise ValueError(
                f"engine is {self.engine!r} and server is {'given' if self.server else 'not given'}"
                ": engine 'server' needs `server`, and only that engine reads it"
            )
        return self
