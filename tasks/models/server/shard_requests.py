"""The requests for the responses of a shard, and what is made of the answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tasks.endpoints.answers import Answer
from tasks.models.sampling.config import SamplingConfig
from tasks.models.sampling.generation import Completion
from tasks.models.tokens.templates import clean_response
from tasks.settings.errors import StageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tasks.models.server.process import ModelServer
    from tasks.models.server.prompts import SentPrompt

_LARGEST_SEED = 2**31


class Dialect(NamedTuple):
    """What a server understands beyond OpenAI's own fields."""

    token_prompts: bool
    """Prompts as token ids, which leave nothing to interpretation."""
    options: Literal["fields", "generation_config", "none"]
    """How it learns top-k, and that settings of the model's own do not count: by fields (vLLM,
    SGLang, llama.cpp), by transformers' `generation_config`, or not at all."""
    token_ids: bool
    """Whether it is asked for the ids it drew."""


DIALECTS = (
    Dialect(True, "fields", True),
    Dialect(True, "fields", False),
    Dialect(False, "fields", True),
    Dialect(False, "fields", False),
    Dialect(False, "generation_config", False),
    Dialect(True, "none", False),
    Dialect(False, "none", False),
)
"""Best first; the first that is not refused is spoken. A server that silently ignores what it does
not know passes for a better one, so set `top_k` only for one that is known to have it."""


class ShardRequests(NamedTuple):
    """What the requests of a shard have in common."""

    server: ModelServer
    """Is asked."""
    tokenizer: PreTrainedTokenizerBase
    """Of the policy it serves."""
    template: str | None
    """Name of the chat template."""
    config: SamplingConfig
    """How to draw."""
    stops: tuple[str, ...]
    """Strings that end a response."""
    ends: tuple[int, ...]
    """Token ids that do."""
    stream: tuple[int, int]
    """Seed of the run and number of the shard, from which each response's seed is derived."""

    def body(self, dialect: Dialect, prompt: SentPrompt, place: int, sample: int) -> dict[str, Any]:
        """Return the request for one response."""
        from tasks.models.randomness import derive_seed

        config = self.config
        seed = derive_seed(*self.stream, "server", place, sample)
        body: dict[str, Any] = {
            "model": self.server.model_name,
            "prompt": prompt.content,
            "max_tokens": config.max_new_tokens,
            "temperature": config.temperature,
            "top_p": config.top_p,
            # Some servers keep seeds in 32 bits.
            "seed": seed % _LARGEST_SEED,
        }
        if self.stops:
            # An empty list is an error to transformers.
            body["stop"] = list(self.stops)
        # A model's own generation_config would otherwise fill in what a request leaves open.
        options: dict[str, Any] = {"min_p": 0.0, "repetition_penalty": 1.0}
        if dialect.options == "fields":
            # A stop string that is a special token is none in a text without special tokens.
            body |= options | {"top_k": config.top_k or -1, "stop_token_ids": list(self.ends)}
        elif dialect.options == "generation_config":
            # Without do_sample transformers is greedy, whatever the temperature; and without ends,
            # its continuous batching goes on behind EOS.
            options |= {"do_sample": config.temperature > 0, "eos_token_id": list(self.ends)}
            body["generation_config"] = json.dumps(options | {"top_k": config.top_k})
        if dialect.token_ids:
            body["return_token_ids"] = True
        return body

    def completion(self, answer: Answer, prompt: SentPrompt) -> Completion:
        """Check an answer and make a completion of it.

        Raises:
            StageError: It belongs to another prompt or limit than ours.
        """
        self._check(answer, prompt)
        text, tokens, ids = answer.text, self._count(answer), answer.ids or []
        if ids:
            text = self.tokenizer.decode(ids, skip_special_tokens=True)
        cut = min((text.find(stop) for stop in self.stops if stop in text), default=None)
        by_id = bool(ids) and ids[-1] in self.ends
        ended = answer.reason == "stop" or by_id or cut is not None
        # Training takes them for the whole response, with the id that ended it.
        is_whole = cut is None and len(ids) == tokens and by_id == ended
        return Completion(
            text=clean_response(self.template, text[:cut]),
            tokens=tokens,
            ended=ended,
            ids=tuple(ids) if ids and is_whole else None,
        )

    def _check(self, answer: Answer, prompt: SentPrompt) -> None:
        limit = self.config.max_new_tokens
        if answer.prompt_tokens not in (None, prompt.tokens):
            raise StageError(
                f"the model server read the prompt {prompt.name} as {answer.prompt_tokens} tokens, "
                f"ours are {prompt.tokens}: does it serve {self.server.model}, with its tokenizer?"
            )
        tokens = self._count(answer)
        if tokens > limit:
            raise StageError(
                f"the model server drew {tokens} tokens for the prompt {prompt.name}, "
                f"max_new_tokens is {limit}: it ignores max_tokens"
            )
        if answer.reason == "length" and answer.tokens is not None and tokens < limit:
            raise StageError(
                f"the model server cut the response to the prompt {prompt.name} after {tokens} of "
                f"{limit} tokens: raise the context it is started with"
            )

    def _count(self, answer: Answer) -> int:
        if answer.tokens is not None:
            return answer.tokens
        if answer.ids is not None:
            return len(answer.ids)
        ids = self.tokenizer(answer.text, add_special_tokens=False, verbose=False)["input_ids"]
        return min(len(ids) + (answer.reason == "stop"), self.config.max_new_tokens)
