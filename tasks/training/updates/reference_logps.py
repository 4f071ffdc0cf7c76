"""Log-probabilities under the reference model: computed once, kept as an artifact, then it is gone.

The artifact holds `logps.safetensors`, one number per response in the order of the encoded groups,
and `index.json`, which says of which model, tokens, temperature and arithmetic they are.
"""

from __future__ import annotations

import gc
import math
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from tasks.models.groups.group_model import GroupPolicy
from tasks.models.memory import kept_memory
from tasks.models.policy import load_policy
from tasks.models.precision import arithmetic_of, keep_as_computed, uses_bf16
from tasks.models.prompt_sharing_check import ordinary_tokens
from tasks.models.scoring.group_scores import response_values
from tasks.models.tokens.encoding import vocabulary_of
from tasks.settings.errors import ConfigError, StageError
from tasks.settings.log import Log
from tasks.storage.files import link_or_copy, read_json, write_atomic, write_json
from tasks.storage.workspace import Workspace
from tasks.training.config import PolicyConfig, ReferenceConfig
from tasks.training.data.encoded import EncodedFolder
from tasks.training.data.selection import Encoder, Selection, keep_groups
from tasks.training.methods.registry import get_group_method

_SHARD = 2048
_FILE, _INDEX = "logps.safetensors", "index.json"
_PART = "reference"
SET = "selected"
"""The name of the groups that a policy method selected, as a part and in the plan."""


def compute_logps(
    reference: Path,
    groups: list[Path],
    config: ReferenceConfig,
    workspace: Workspace,
    log: Log,
    *,
    digest: str = "",
) -> dict[str, float]:
    """Write the log-probability of every selected response under the reference model.

    Shards of 2,048 groups are kept as parts, so an interrupted pass goes on where it was. The model
    has left memory when this returns.

    Args:
        reference: Its model folder; its tokenizer is the policy's.
        groups: Folders of scored groups.
        config: Method, limits, template, temperature, precision.
        workspace: Of the stage's attempt; `output/` receives the artifact.
        log: Receives progress.
        digest: Of the reference's folder; by it a policy is known to be its own reference.

    Returns:
        Counts of the data, the mean log-probability, and whether prompts were shared.

    Raises:
        ConfigError: The reference cannot be loaded, or the method lacks responses or scores.
        StageError: A log-probability is not finite.
    """
    encoder = Encoder.of(reference, config.template, config.limits, as_sampled=True)
    selection = Selection(groups, get_group_method(config.method), config.responses)
    encoded, metrics = keep_groups(workspace, SET, selection, encoder)
    starts = range(0, len(encoded), _SHARD)
    shards = [f"shard-{number:05d}" for number in range(len(starts))]
    if not all(workspace.part(name) for name in shards):
        metrics |= _compute(reference, encoded, encoder, config, shards, workspace, log)
    kept = [load_file(workspace.parts / name / _FILE) for name in shards]
    logps = torch.cat([shard["logps"] for shard in kept])
    shared = min(float(shard["shared"]) for shard in kept)
    write_atomic(workspace.output / _FILE, save({"logps": logps}))
    write_json(
        workspace.output / _INDEX,
        {
            "responses": len(logps),
            "data": encoded.digest,
            "tokenizer": vocabulary_of(encoder.tokenizer, encoder.template),
            "model": digest,
            "temperature": config.temperature,
            "precision": _precision(config.precision),
        },
    )
    return metrics | {"mean_logp": float(logps.mean()), "shared_prompts": shared}


def keep_reference(
    workspace: Workspace,
    artifact: Path,
    encoded: EncodedFolder,
    encoder: Encoder,
    config: PolicyConfig,
    digest: str,
) -> Path:
    """Check that a reference's log-probabilities are those of a training's tokens, and keep them.

    Returns the part, for `read_reference`; `digest` is of the policy's folder.

    Raises:
        StageError: Names what differs.
    """
    index = _read_index(artifact)
    ours = {
        "tokenizer": vocabulary_of(encoder.tokenizer, encoder.template),
        "data": encoded.digest,
        "temperature": config.temperature,
        "precision": _precision(config.training.precision),
    }
    meaning = {
        "tokenizer": "another tokenizer or chat template",
        "data": "other tokens (other groups or limits)",
    }
    for key, value in ours.items():
        if index[key] != value:
            what = meaning.get(key, f"{key} {index[key]}, and the training has {value}")
            raise StageError(
                f"the reference log-probabilities of {artifact} were computed with {what}: compute "
                "them on this training's groups, with the policy's tokenizer and this "
                "configuration"
            )
    same = bool(digest) and index["model"] == digest

    def write(folder: Path) -> None:
        link_or_copy(artifact / _FILE, folder / _FILE)
        write_json(folder / _INDEX, {"is_start": same})

    return workspace.part(_PART) or workspace.save_part(_PART, write)


def read_reference(part: Path) -> tuple[Tensor, bool]:
    """Return what `keep_reference` kept.

    Returns:
        Nats per response, in the order of the encoded groups, shape (R,), float32, on the CPU; and
        whether the reference is the policy that the training starts from.
    """
    return load_file(part / _FILE)["logps"], bool(read_json(part / _INDEX)["is_start"])


def step_zero(
    policy: GroupPolicy,
    encoded: EncodedFolder,
    reference: Tensor,
    pad_id: int,
    *,
    precision: str,
    rows: range,
    batch_tokens: int,
) -> tuple[float, float]:
    """Compare policy and reference on a few groups before the first step.

    The policy is in eval mode; the reference has a log-probability for each of the R responses.

    Returns:
        The mean log-ratio in nats, which estimates KL(policy || reference) where the reference
        wrote the responses, and the largest difference relative to the log-probability.
    """
    groups = [encoded.encoded(row) for row in rows]
    with arithmetic_of(precision):
        values = response_values(policy, groups, pad_id, batch_tokens)
    ours = torch.tensor([value for row in values for value in row])
    first, last = encoded.responses(rows[0])[0], encoded.responses(rows[-1])[1]
    theirs = reference[first:last]
    ratio = ours - theirs
    worst = (ratio.abs() / theirs.abs().clamp(min=1)).max()
    return float(ratio.mean()), float(worst)


def _compute(
    reference: Path,
    encoded: EncodedFolder,
    encoder: Encoder,
    config: ReferenceConfig,
    shards: list[str],
    workspace: Workspace,
    log: Log,
) -> dict[str, float]:
    """Compute the shards that are not kept yet, and let go of the model."""
    model = load_policy(reference, dtype="float32")
    policy = GroupPolicy(model, temperature=config.temperature).eval()
    began, tokens, sizes = time.perf_counter(), 0, encoded.sizes()
    with kept_memory(), arithmetic_of(config.precision):
        policy.check(ordinary_tokens(encoder.tokenizer))
        if policy.reason:
            log.note(policy.reason)
        keep_as_computed(model, config.precision)
        for number, name in enumerate(shards):
            rows = range(number * _SHARD, min((number + 1) * _SHARD, len(encoded)))
            if workspace.part(name) is None:
                groups = [encoded.encoded(row) for row in rows]
                values = response_values(policy, groups, encoder.pad_id, config.batch_tokens)
                _require_finite(values, encoded, rows, reference)
                logps = torch.tensor([value for row in values for value in row])
                _keep(workspace, name, logps, shared=policy.shared)
                tokens += sum(sizes[row] for row in rows)
            log.progress(rows.stop, len(encoded), "reference groups")
    seconds = time.perf_counter() - began
    del model, policy
    # Modules refer to each other in cycles, which only the collector breaks.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return {"speed/tokens_per_second": tokens / seconds}


def _require_finite(
    values: list[list[float]], encoded: EncodedFolder, rows: range, reference: Path
) -> None:
    for row, found in zip(rows, values, strict=True):
        if not all(map(math.isfinite, found)):
            raise StageError(
                f"the reference {reference} gives the responses of group {encoded.name(row)} the "
                f"log-probabilities {found}: its weights are broken, or it needs precision fp32"
            )


def _keep(workspace: Workspace, name: str, logps: Tensor, *, shared: bool) -> None:
    # A later attempt may find every shard here, and load no model that could tell.
    data = save({"logps": logps, "shared": torch.tensor(float(shared))})
    workspace.save_part(name, lambda folder: write_atomic(folder / _FILE, data))


def _precision(asked: str) -> str:
    return "bf16" if uses_bf16(asked) else "fp32"


def _read_index(artifact: Path) -> dict[str, Any]:
    if not (artifact / _INDEX).is_file() or not (artifact / _FILE).is_file():
        raise ConfigError(
            f"{artifact} holds no reference log-probabilities: give what "
            "compute_reference_logps made"
        )
    index: dict[str, Any] = read_json(artifact / _INDEX)
    return index
