"""Sampling: the same for (seed, shard), whatever the batch, the other shards and global RNG."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from tasks.data.groups import Message, prompt_hash
from tasks.models.sampling.config import SamplingConfig
from tasks.models.sampling.decode_rows import _reasons, why_not_shared
from tasks.models.sampling.generation import Completion, sample
from tasks.models.tokens.encoding import encode_prompt
from tasks.settings.errors import ConfigError, StageError
from tests.tasks.models.families import build as build_family

PROMPTS = [
    (Message("user", text),)
    for text in ("what is 1 plus 2?", "4?", "a much longer question about what 3 plus 4 is", "héé")
]


def by_hand(model: Any, tokenizer: Any, prompt: Any, steps: int) -> list[int]:
    """Greedy tokens of one unpadded row, the whole text read again at every step."""
    ids = encode_prompt(tokenizer, "hh", prompt, 100)[0]
    start = len(ids)
    with torch.no_grad():
        while len(ids) < start + steps:
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == tokenizer.eos_token_id:
                break
    return ids[start:]


def sharpen(model: Any) -> None:
    """Make the weights so large that every token depends on all before it and on its place."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.7, generator=generator)


def favour(model: Any, token: int, bonus: float) -> None:
    """Make one token likelier at every step."""
    plain = model.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        output = plain(*args, **kwargs)
        output.logits[..., token] += bonus
        return output

    model.forward = forward


def follow(model: Any, script: list[int]) -> None:
    """Make the model write a script, token by token, and then its last token for ever."""
    why_not_shared(model, range(3, 40))  # asked now, so that its probe does not advance the script
    plain, step = model.forward, [0]

    def forward(*args: Any, **kwargs: Any) -> Any:
        output = plain(*args, **kwargs)
        output.logits[..., script[min(step[0], len(script) - 1)]] += 1e4
        step[0] += 1
        return output

    model.forward = forward


def greedy(**changes: Any) -> SamplingConfig:
    return SamplingConfig(**{"samples": 1, "temperature": 0.0, "max_new_tokens": 12, **changes})


def test_greedy_batch_of_mixed_lengths_equals_single_rows(policy: Any, tokenizer: Any) -> None:
    sharpen(policy)
    seen: set[int] = set()
    together = sample(policy, tokenizer, "hh", PROMPTS, greedy(), 0)
    for prompt, (found,) in zip(PROMPTS, together, strict=True):
        tokens = by_hand(policy, tokenizer, prompt, 12)
        seen.update(tokens)
        text = tokenizer.decode(tokens, skip_special_tokens=True).split("\n\nHuman:")[0].strip()
        assert (found.text, found.tokens, found.ids) == (text, len(tokens), tuple(tokens))
        assert sample(policy, tokenizer, "hh", [prompt], greedy(), 0) == [[found]]
    assert len(seen) > 12  # not one token over and over, which would hide wrong positions


def test_greedy_equals_transformers_generate(policy: Any, tokenizer: Any) -> None:
    ids = encode_prompt(tokenizer, "hh", PROMPTS[0], 100)[0]
    theirs = policy.generate(
        torch.tensor([ids]), do_sample=False, max_new_tokens=12, pad_token_id=0
    )[0, len(ids) :]
    (ours,) = sample(policy, tokenizer, "hh", PROMPTS[:1], greedy(), 0)[0]
    assert ours.text == tokenizer.decode(theirs, skip_special_tokens=True).strip()


def test_draws_depend_on_seed_shard_and_place_only(policy: Any, tokenizer: Any) -> None:
    favour(policy, tokenizer.eos_token_id, 4.0)  # rows end at different steps and leave the batch

    def draw(seed: int = 1, shard: int = 0, prompts: Any = PROMPTS, size: int = 4096) -> Any:
        config = SamplingConfig(samples=3, max_new_tokens=10, batch_tokens=size)
        return sample(policy, tokenizer, "hh", prompts, config, seed, shard=shard)

    torch.manual_seed(11)
    before = torch.get_rng_state()
    first = draw()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(12)
    assert draw() == first
    assert draw(size=80) == draw(size=130) == draw(size=1) == first
    assert draw(prompts=PROMPTS[:2]) == first[:2]
    assert draw(seed=2) != first and draw(shard=1) != first
    assert len({answer for answers in first for answer in answers}) > 6
    assert {answer.ended for answers in first for answer in answers} == {True, False}


def test_lengths_count_eos_and_ended_says_who_ended(build: Any, tokenizer: Any) -> None:
    model = build("llama")
    config = SamplingConfig(samples=2, max_new_tokens=5)
    favour(model, tokenizer.eos_token_id, 1e4)
    assert sample(model, tokenizer, "hh", PROMPTS[:1], config, 0) == [
        [Completion("", 1, True, (tokenizer.eos_token_id,))] * 2
    ]
    other = build("llama")
    favour(other, tokenizer.eos_token_id, -1e4)
    for answer in sample(other, tokenizer, "hh", PROMPTS[:1], config, 0)[0]:
        assert (answer.tokens, answer.ended) == (5, False)


def test_a_further_end_token_of_the_generation_config_ends(build: Any, tokenizer: Any) -> None:
    model = build("llama")
    end = tokenizer("x", add_special_tokens=False)["input_ids"][0]
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, end]
    favour(model, end, 1e4)
    (found,) = sample(model, tokenizer, "hh", PROMPTS[:1], greedy(), 0)[0]
    assert (found.tokens, found.ended) == (1, True)


@pytest.mark.parametrize("stop", ["aab", "bé", "b\nc"])
def test_stop_strings_across_tokens_end_and_are_cut_off(
    build: Any, tokenizer: Any, stop: str
) -> None:
    """The model is made to write `xaab…`, then `bé`, then `b`, newline, `c`, token by token."""
    script = tokenizer("xaabbé", add_special_tokens=False)["input_ids"]
    script += tokenizer("b\nc tail", add_special_tokens=False)["input_ids"]
    model = build("llama")
    follow(model, script)
    config = greedy(max_new_tokens=len(script) + 3, stop=[stop])
    (found,) = sample(model, tokenizer, "hh", PROMPTS[:1], config, 0)[0]
    whole = "xaabbéb\nc tail"
    assert found.ended and found.ids is None
    assert found.text == whole[: whole.index(stop)].strip()
    assert found.tokens < len(script)
    with pytest.raises(ValidationError, match="stop string is empty"):
        SamplingConfig(stop=("",))


def test_the_template_adds_its_own_stops(build: Any, tokenizer: Any) -> None:
    model = build("llama")
    script = tokenizer("so\n\nHuman: hm", add_special_tokens=False)["input_ids"]
    follow(model, script)
    (found,) = sample(model, tokenizer, "hh", PROMPTS[:1], greedy(max_new_tokens=30), 0)[0]
    assert (found.text, found.ended) == ("so", True)


def test_non_finite_logits_name_the_prompts(build: Any, tokenizer: Any) -> None:
    model = build("llama")
    plain = model.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        output = plain(*args, **kwargs)
        output.logits[0] = float("nan")  # the longest prompt stands first
        return output

    model.forward = forward
    with pytest.raises(StageError, match="not finite for 1 prompts") as caught:
        sample(model, tokenizer, "hh", PROMPTS, greedy(), 0)
    assert prompt_hash(PROMPTS[2]) in str(caught.value)


def test_a_context_too_short_is_a_config_error(build: Any, tokenizer: Any) -> None:
    model, config = build("gpt2"), greedy(max_new_tokens=100)
    with pytest.raises(ConfigError, match="context of 128 tokens.* 100 leaves 28 .* 29"):
        sample(model, tokenizer, "hh", PROMPTS, config, 0, max_prompt_tokens=29)
    long = [(Message("user", "word " * 200),)]
    assert sample(model, tokenizer, "hh", long, config, 0)[0][0].tokens <= 100
    assert sample(model, tokenizer, "hh", [], config, 0) == []


def test_k_rows_of_a_prompt_equal_k_prompts(policy: Any, tokenizer: Any) -> None:
    """The draws are those of (place, k): three samples of a prompt, or of prompts read apart."""
    config = SamplingConfig(samples=3, max_new_tokens=10)
    together = sample(policy, tokenizer, "hh", PROMPTS, config, 3)
    alone = config.model_copy(update={"batch_tokens": 1})
    assert sample(policy, tokenizer, "hh", PROMPTS, alone, 3) == together
    _reasons[policy] = "made to"
    assert sample(policy, tokenizer, "hh", PROMPTS, config, 3) == together


def test_an_encoder_decoder_is_sampled_as_generate_does(tokenizer: Any) -> None:
    model = build_family("t5", vocab_size=len(tokenizer))
    found = sample(model, tokenizer, "hh", PROMPTS, greedy(samples=2), 0)
    for prompt, (first, second) in zip(PROMPTS, found, strict=True):
        ids = torch.tensor([encode_prompt(tokenizer, "hh", prompt, 100)[0]])
        theirs = model.generate(ids, do_sample=False, max_new_tokens=12)[0, 1:]
        assert first == second and list(first.ids or ()) == theirs[: first.tokens].tolist()
    assert len({token for row in found for token in row[0].ids or ()}) > 4


def test_an_encoder_reads_prompts_as_long_as_the_context(tokenizer: Any) -> None:
    model = build_family("bart", vocab_size=len(tokenizer))  # both sides have 96 tokens
    config = greedy(max_new_tokens=90)
    found = sample(model, tokenizer, "hh", PROMPTS, config, 0, max_prompt_tokens=90)
    assert all(1 <= answer.tokens <= 90 for (answer,) in found)
    with pytest.raises(ConfigError, match="context of 96 tokens: max_new_tokens 96 leaves 0"):
        sample(model, tokenizer, "hh", PROMPTS, greedy(max_new_tokens=96), 0)


def test_a_tokenizer_without_pad_or_bos_samples_the_same(policy: Any, tokenizer: Any) -> None:
    config = SamplingConfig(samples=2, max_new_tokens=6)
    found = sample(policy, tokenizer, "hh", PROMPTS, config, 5)
    tokenizer.pad_token = None
    assert sample(policy, tokenizer, "hh", PROMPTS, config, 5) == found
    tokenizer.bos_token = None
    assert all(map(len, sample(policy, tokenizer, "plain", [(), *PROMPTS], config, 5)))


def test_a_tokenizer_of_another_model_is_a_config_error(tokenizer: Any) -> None:
    model = build_family("llama")
    with pytest.raises(ConfigError, match="the policy knows 40: .* belongs to another model"):
        sample(model, tokenizer, "hh", PROMPTS, greedy(), 0)


def test_an_engine_and_its_server_belong_together() -> None:
    with pytest.raises(ValidationError, match="engine 'server' needs `server`"):
        SamplingConfig(engine="server")
    with pytest.raises(ValidationError, match="engine is 'own' and server is given"):
        SamplingConfig(server={"command": "serve --port {port}"})
