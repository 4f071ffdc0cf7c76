"""Making what a setting's rows are measured on, once: models, groups, prompts."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.engine.setting import (
    PROMPTS,
    ROOT,
    Setting,
    conversations,
    pairs,
    rectangle,
    texts,
)
from tasks.data.files import write_groups
from tasks.data.groups import Group
from tasks.models.tokens.encoding import Limits, encode_group, encode_prompt
from tasks.settings.errors import ConfigError
from tasks.storage.digests import sha256_json
from tasks.storage.files import write_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_TEACHING_RATE = 1e-3
_TAUGHT = 16  # sequences of one length per teaching step
_SAMPLED = 64  # prompts
_BESIDE = 0.02  # how far the reference's weights lie from the pretrained ones, relative to them
_LONGEST = 1 << 30
_DONE = "done"


def prepared(setting: Setting, root: Path, device: str) -> Path:
    """Return the folder of a setting under `root`, made on first use.

    In it: `policy`, `reference` (the policy earlier in its teaching, or a little beside it),
    `reward`, the groups `k2` (real pairs), `k4` and `k8` (each with responses to other prompts
    behind its own two), and the ids of the prompts that are sampled.

    Raises:
        ConfigError: SPARRING_DATA does not name a folder with the pairs, or the pretrained model is
            not there.
    """
    folder = root / sha256_json(setting.model_dump(mode="json"))[:12]
    if not (folder / _DONE).exists():
        shutil.rmtree(folder, ignore_errors=True)
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root) as draft:
            _prepare(setting, Path(draft), device)
            (Path(draft) / _DONE).touch()
            shutil.copytree(draft, folder)
    return folder


def _prepare(setting: Setting, folder: Path, device: str) -> None:
    from tasks.models.base_policy import corpus_texts
    from tasks.models.loading import save_model
    from tasks.models.reward_model import build_reward_model
    from tasks.models.tokens.tokenizer import load_tokenizer, train_tokenizer

    everything: Iterable[Group] = pairs(setting)
    if setting.pretrained:
        tokenizer = load_tokenizer(_pretrained_folder(setting))
    else:
        everything = list(everything)
        tokenizer = train_tokenizer(corpus_texts(everything), setting.vocabulary, folder / "policy")
    kept = list(
        islice((one for one in everything if _fits(tokenizer, one, setting)), setting.pairs)
    )
    for size in (2, 4, 8):
        write_groups(folder / f"k{size}", _widened(kept, size))
    template, asked = conversations(tokenizer, setting, kept[:_SAMPLED])
    ids = [encode_prompt(tokenizer, template, one, _LONGEST)[0] for one in asked]
    write_json(folder / PROMPTS, ids)
    make = _take_pretrained if setting.pretrained else _teach_policies
    make(setting, tokenizer, folder, device)
    reward = build_reward_model(folder / "policy", tokenizer, dtype="float32")
    save_model(reward, tokenizer, folder / "reward", setting.template)


def _pretrained_folder(setting: Setting) -> Path:
    path = ROOT / setting.pretrained
    if not (path / "config.json").is_file():
        raise ConfigError(f"there is no model in {setting.pretrained}: `make model` brings it")
    return path


def _take_pretrained(
    setting: Setting, tokenizer: PreTrainedTokenizerBase, folder: Path, device: str
) -> None:
    """Save the pretrained model as the policy, and beside it a reference that differs a little.

    With the same weights every loss would be log 2 at first, and agreement would mean nothing.
    """
    import torch

    from tasks.models.loading import save_model
    from tasks.models.policy import load_policy

    model = load_policy(_pretrained_folder(setting), dtype="float32")
    save_model(model, tokenizer, folder / "policy")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in model.parameters():
            weights *= 1 + _BESIDE * torch.randn(weights.shape, generator=generator)
    save_model(model, tokenizer, folder / "reference")


def _teach_policies(
    setting: Setting, tokenizer: PreTrainedTokenizerBase, folder: Path, device: str
) -> None:
    from tasks.models.architecture import build_policy
    from tasks.models.loading import save_model

    policy = build_policy(setting.model, tokenizer, seed=0)
    early = 3 * setting.teaching_steps // 4
    rows = [
        encode_group(tokenizer, setting.template, group, setting.limits)
        for group in texts(folder, 2, 2 * _TAUGHT * setting.teaching_steps)
    ]
    # Short ones teach the end as well as long ones, sooner.
    sequences = sorted((g.prompt_ids + g.responses_ids[0] for g in rows), key=len)
    sequences = sequences[: len(sequences) // 2]
    for name, steps in (("reference", range(early)), ("policy", range(early, 4 * early // 3))):
        _teach(policy, sequences, steps, device)
        save_model(policy, tokenizer, folder / name, setting.template)
    if not early:
        save_model(build_policy(setting.model, tokenizer, 1), tokenizer, folder / "reference")


def _fits(tokenizer: PreTrainedTokenizerBase, group: Group, setting: Setting) -> bool:
    wide = Limits(max_prompt_tokens=_LONGEST, max_response_tokens=_LONGEST)
    ids = encode_group(tokenizer, setting.template, group, wide)
    longest, limits = max(map(len, ids.responses_ids)), setting.limits
    return len(ids.prompt_ids) <= limits.max_prompt_tokens and longest <= limits.max_response_tokens


def _widened(pairs: list[Group], size: int) -> Iterator[Group]:
    """Yield each pair with responses of the following pairs behind its own, and drawn scores."""
    draw = random.Random(size)
    for number, pair in enumerate(pairs):
        others = [pairs[(number + step) % len(pairs)] for step in range(1, size)]
        spare = [response for other in others for response in other.responses]
        scores = (1.0, 0.0) if size == 2 else tuple(draw.gauss(0, 1) for _ in range(size))
        responses = (*pair.responses, *spare)[:size]
        yield Group(prompt=pair.prompt, responses=responses, scores=scores, id=str(number))


def _teach(model: PreTrainedModel, sequences: list[list[int]], steps: range, device: str) -> None:
    import torch

    from tasks.models.memory import kept_memory
    from tasks.models.precision import arithmetic_of

    model.to(device).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=_TEACHING_RATE)
    draw = random.Random(steps.start)
    with kept_memory():
        for _ in steps:
            start = draw.randrange(max(1, len(sequences) - _TAUGHT))
            ids, real = rectangle(sequences[start : start + _TAUGHT], device)
            labels: Any = ids.masked_fill(real == 0, -100)
            with arithmetic_of("auto"):
                loss = model(
                    input_ids=ids, attention_mask=real, labels=labels, use_cache=False
                ).loss
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
    model.eval().to("cpu")
