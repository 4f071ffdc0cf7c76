"""Sampling through a model server: the same responses per prompt as `generation.sample` gives.

What differs, and must not be overlooked: a server's draws depend on what else it computes at the
time, so the seeds that are sent make nothing repeatable unless the server says so (vLLM: per
request, but for rounding in other batches; `transformers serve`: with `concurrency` 1 only). The
committed shard is the record; one that was interrupted is asked for again, whole, and may differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING

from tasks.endpoints.answers import Answer
from tasks.models.sampling.config import SamplingConfig
from tasks.models.sampling.generation import Completion, prompt_room
from tasks.models.server.client import CompletionClient, RefusedError
from tasks.models.server.shard_requests import DIALECTS, Dialect, ShardRequests
from tasks.models.tokens.conversations import resolve_template
from tasks.models.tokens.templates import stop_strings
from tasks.settings.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tasks.data.groups import Message
    from tasks.models.server.process import ModelServer
    from tasks.models.server.prompts import SentPrompt


def sample_from_server(
    server: ModelServer,
    tokenizer: PreTrainedTokenizerBase,
    template: str | None,
    prompts: Sequence[Sequence[Message]],
    config: SamplingConfig,
    seed: int,
    *,
    shard: int = 0,
    max_prompt_tokens: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[list[Completion]]:
    """Sample S responses to each prompt of a shard: all of them, or none.

    Takes what `generation.sample` takes, with a running server for the model; it applies no
    template. Each response is a request of its own with a seed of its own, fixed by (seed, shard,
    prompt, sample). The results stand in this order, however they arrive; `progress` is told
    the tokens of each in the calling thread.

    Returns:
        For each prompt in order, its S completions, with token ids where the server tells them.

    Raises:
        ConfigError: Prompt and response do not fit the model's context, or the server does not
            take what the config asks for.
        StageError: The server ended, refuses, makes no sense, or reads other tokens than ours.
    """
    from transformers import AutoConfig

    from tasks.models.server.prompts import ending_ids, write_prompt

    if not prompts:
        return []
    name = resolve_template(tokenizer, template)
    model_config = AutoConfig.from_pretrained(server.model)
    if model_config.is_encoder_decoder:
        raise ConfigError(
            f"{server.model} is an encoder–decoder: servers of completions take its prompt for "
            "the response's beginning; use engine 'own'"
        )
    room = prompt_room(model_config, config, max_prompt_tokens)
    stops = tuple(dict.fromkeys([*config.stop, *stop_strings(name)]))

    def write(prompt: Sequence[Message], dialect: Dialect) -> SentPrompt:
        as_text = not dialect.token_prompts
        return write_prompt(tokenizer, name, prompt, room, as_text=as_text)

    ends = tuple(ending_ids(server.model, tokenizer, stops))
    requests = ShardRequests(server, tokenizer, name, config, stops, ends, (seed, shard))
    with CompletionClient(server) as client:
        dialect = _agree(client, requests, lambda dialect: write(prompts[0], dialect))
        sent = [write(prompt, dialect) for prompt in prompts]
        results = _ask_all(client, requests, dialect, sent, progress)
    if config.temperature and config.samples > 1 and all(len(set(row)) == 1 for row in results):
        server.log.note(
            f"all {config.samples} responses to each of {len(results)} prompts are the same: "
            "either the policy has collapsed or the server ignores temperature and seed"
        )
    return results


def _agree(
    client: CompletionClient, requests: ShardRequests, write: Callable[[Dialect], SentPrompt]
) -> Dialect:
    """Find the first dialect that the server does not refuse, by asking for one token."""
    server, refusals = requests.server, []
    for dialect in DIALECTS:
        if dialect.options == "none" and requests.config.top_k:
            continue
        # All but the length is as in the requests to come: `transformers serve` with continuous
        # batching keeps the settings of its first request. It may also load the model only now.
        body = requests.body(dialect, write(dialect), 0, 0) | {"max_tokens": 1}
        try:
            client.ask(body, max(server.config.ready_seconds, server.config.request_seconds))
        except RefusedError as error:
            if error.status not in (400, 422):
                raise
            refusals.append(str(error))
            continue
        return dialect
    top_k = " with top_k (OpenAI's interface has none)" if requests.config.top_k else ""
    raise ConfigError(
        f"the model server takes no request{top_k}. The plainest one: {refusals[-1]}; "
        f"the best one: {refusals[0]}"
    )


def _ask_all(
    client: CompletionClient,
    requests: ShardRequests,
    dialect: Dialect,
    prompts: Sequence[SentPrompt],
    progress: Callable[[int], None] | None,
) -> list[list[Completion]]:
    """Ask for every response of a shard, some at a time; on an error the others are given up."""

    def ask(place: int, sample: int) -> Answer:
        return client.ask(requests.body(dialect, prompts[place], place, sample))

    samples = requests.config.samples
    places = [(place, sample) for place in range(len(prompts)) for sample in range(samples)]
    found: dict[tuple[int, int], Completion] = {}
    pool = ThreadPoolExecutor(requests.server.config.concurrency, thread_name_prefix="completion")
    try:
        asked = {pool.submit(ask, *place): place for place in places}
        for future in as_completed(asked):
            # Here, not in the threads: a tokenizer serves one at a time.
            completion = requests.completion(future.result(), prompts[asked[future][0]])
            found[asked[future]] = completion
            if progress is not None:
                progress(completion.tokens)
    finally:
        # Those in flight end with the server; waiting for them could take very long.
        pool.shutdown(wait=False, cancel_futures=True)
    return [[found[place, sample] for sample in range(samples)] for place in range(len(prompts))]
