"""A store with one output of each kind, made without a run: tiny models, a few groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tasks.data.files import write_groups
from tasks.data.groups import Group, Message
from tasks.models.architecture import ArchitectureConfig, build_policy
from tasks.models.loading import save_model
from tasks.models.tokens.tokenizer import load_tokenizer, train_tokenizer
from tasks.stages.manifest import InputRecord, Manifest, artifact_folder, commit_manifest
from tasks.storage.digests import digest_tree, directory_md5
from tasks.storage.files import write_json
from tasks.storage.home import Home
from tests.tasks.models.random_heads import random_reward_model

SHAPE = ArchitectureConfig(hidden_size=16, layers=1, heads=2, context=128)
TEMPLATE = "hh"
SOURCE = InputRecord("5" * 32, "external", "")
ESTIMATE = {"value": 1.5, "standard_error": 0.5, "count": 4}
EVALUATION = {
    "queries": 4,
    "scores": {"RM": ESTIMATE},
    "against": {"start": {"RM": {"win": 0.75, "win_low": 0.5, "win_high": 0.9, "lose": 0.25}}},
    "kl": ESTIMATE,
    "per_prompt": {"a": {"scores": {"RM": [1.0]}}},
}
RIGHT = {
    "test/accuracy": 0.528302, "test/accuracy_se": 0.0692264, "test/accuracy_pairs": 53.0,
    "test/longer_wins": 0.603774, "dev/accuracy": 0.9,
}  # fmt: skip
"""What a reward model gets right that a newcomer promoted a policy by."""
METRICS = {"score/RM": 1.5, "win_rate/start/RM": 0.75, "kl": 1.5, "kl_se": 0.5}


def asked(text: str, *responses: str, **fields: Any) -> Group:
    """A group whose prompt is one turn of the user."""
    return Group((Message("user", text),), responses, **fields)


PAIRS = [asked(f"what is {n} plus 1?", f"it is {n + 1}", "no", scores=(1.0, 0.0)) for n in range(8)]
DIALOGUE = Group(
    (Message("system", "be kind"), Message("user", "hi"), Message("assistant", "hello")),
    ("how are you?", "what?"),
    (1.0, 0.0),
)
GOLD_FIRST = asked("why?", "since", "no", "go", sources=("gold", "policy", "policy"))
SAMPLED = [asked(f"{n}?", "yes", "no", scores=(0.5, -0.5)) for n in range(3)]


def commit(
    home: Home,
    number: int,
    stage: str,
    fill: Callable[[Path], Any],
    inputs: dict[str, InputRecord] | None = None,
    **values: Any,
) -> Manifest:
    """Put an output into the store, as a stage of this name would have."""
    key = f"{number:x}" * 64
    folder = artifact_folder(home, stage, key)
    folder.mkdir(parents=True)
    fill(folder)
    files = tuple(digest_tree(folder))
    provenance = {"run": "apo-1", "git_commit": "c" * 40, "created": f"2026-11-0{number}"}
    provenance |= {"produces": values.pop("produces", None), "external": {"sources.0": "mine.csv"}}
    config = values.pop("config", None)
    metrics, label = values.pop("metrics", {}), values.pop("label", "")
    made = Manifest(
        key, stage, 1, config, 0, inputs or {}, directory_md5(files), files, metrics, label, {},
        provenance,
    )  # fmt: skip
    commit_manifest(home, made)
    return made


def record(made: Manifest, part: str = "") -> InputRecord:
    """Return an output as the input of another one."""
    return InputRecord(made.digest, made.stage, made.key, part)


def groups(**parts: Sequence[Group]) -> Callable[[Path], None]:
    """Return what writes folders of groups."""

    def fill(folder: Path) -> None:
        for name, some in parts.items():
            write_groups(folder / name, some)

    return fill


def write_policy(folder: Path) -> None:
    """Write a policy that training has left: with a snapshot, which stays here."""
    tokenizer = train_tokenizer((text for one in PAIRS for text in one.responses), 280, folder)
    save_model(build_policy(SHAPE, tokenizer, 0), tokenizer, folder, TEMPLATE)
    write_json(folder / "metrics.json", {})
    write_json(folder / "snapshots/1/snapshot.json", {"step": 1})


def small_store(home: Home) -> dict[str, Manifest]:
    """Fill a home with an output of each kind, and return them by name."""
    data = commit(
        home, 1, "prepare_data", groups(rm_train=PAIRS, rm_queries=[asked("and?")], extra=[]),
        {"sources.0": SOURCE},
        config={"preferences": [{"path": "/data/of/mine/mine.csv"}, {"hub": "them/pairs"}]},
    )  # fmt: skip
    base = commit(
        home, 2, "initialise_policy", write_policy, produces="policy",
        config={"hub": "them/base", "revision": "abc"},
    )  # fmt: skip
    inputs = {"policy": record(base), "groups.0": record(data, "rm_train")}
    policy = commit(
        home, 3, "update_policy", write_policy, inputs, produces="policy", label="DPO-v1",
        config={"method": "dpo", "limits": {"max_response_tokens": 8}},
    )  # fmt: skip

    def write_reward_model(folder: Path) -> None:
        tokenizer = load_tokenizer(base.folder(home))
        model = random_reward_model(base.folder(home), tokenizer, 0)
        save_model(model, tokenizer, folder, TEMPLATE)

    reward = commit(
        home, 4, "update_reward_model", write_reward_model, {"base": record(base)},
        produces="reward_model", label="RM", config={"objective": "bradley_terry"},
    )  # fmt: skip
    scored = commit(
        home, 8, "score_responses", lambda at: write_groups(at, SAMPLED),
        {"reward_model": record(reward)},
    )  # fmt: skip
    measured = commit(
        home, 5, "evaluate_policy", lambda at: write_json(at / "evaluation.json", EVALUATION),
        {"policy": record(policy), "scores.RM": record(scored)}, metrics=METRICS, label="DPO-v1",
    )  # fmt: skip
    commit(
        home, 9, "evaluate_reward_model", lambda at: write_json(at / "evaluation.json", {}),
        {"reward_model": record(reward)}, metrics=RIGHT, label="RM",
    )  # fmt: skip
    # It was the start of this one, which says nothing about it.
    commit(
        home, 6, "evaluate_policy", lambda at: write_json(at / "evaluation.json", {}),
        {"reference": record(policy)}, metrics={"score/RM": 9.0},
    )  # fmt: skip
    against = commit(home, 7, "pair_with_gold", lambda at: write_groups(at, [GOLD_FIRST, DIALOGUE]))
    return {
        "data": data, "base": base, "policy": policy, "reward_model": reward,
        "evaluation": measured, "against_gold": against, "scored": scored,
    }  # fmt: skip
