"""A small flow run as its stages would spool it: data, two models, their evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.tracking.spool import Spool

TITLES = {
    "a": "prepare_data",
    "b": "initialise_policy",
    "c": "update_reward_model · epoch 1",
    "d": "update_policy · epoch 1",
    "e": "evaluate_reward_model · epoch 1",
    "f": "evaluate_policy · epoch 1",
}
KINDS = {"b": "policy", "c": "reward_model", "d": "policy"}
_INPUTS = {
    "a": [("source", "", "hh.jsonl")],
    "b": [("corpora.0", "a", "train")],
    "c": [("base", "b", ""), ("preferences.0", "a", "train")],
    "d": [("policy", "b", ""), ("groups.0", "a", "train")],
    "e": [("reward_model", "c", ""), ("pairs.human", "a", "test"), ("pairs.gold", "a", "gold")],
    "f": [("scores.rm", "a", "test"), ("policy", "d", "")],
}
_METRICS = {
    "a": {"groups": 20.0},
    "b": {"parameters": 1000.0},
    "c": {"accuracy": 0.7},
    "d": {"kl": 0.2},
    "e": {"human/accuracy": 0.75, "gold/accuracy": 0.8},
    "f": {"rm/score": 0.5},
}
STEPS = 4
_STAGES = "abcdef"


def key(stage: str) -> str:
    """Return the key of a stage of the story."""
    return stage * 64


def digest(stage: str, part: str = "") -> str:
    """Return the digest of its output, or of a part of that."""
    return (stage + part).encode().hex().ljust(32, "0")[:32] + ".dir"


def inputs(stage: str) -> list[dict[str, str]]:
    """Return its inputs as `Spool.stage_started` takes them."""
    found = []
    for role, source, part in _INPUTS[stage]:
        name, _, label = TITLES.get(source, "external").partition(" · ")
        item = {
            "role": role,
            "digest": digest(source or "external", part),
            "stage": name,
            "key": source and key(source),
            "part": part if source else "",
            "label": label if source else part,
            "source": f"/store/{name}/{source}{part}",
        }
        if source in KINDS:
            item["produces"] = KINDS[source]
        found.append(item)
    return found


def begin(spool: Spool, stage: str, attempt: int = 1) -> None:
    """Spool that a stage starts."""
    tags = {f"sparring.input.{item['role']}": item["digest"] for item in inputs(stage)}
    spool.stage_started(
        key(stage), name=TITLES[stage], attempt=attempt, params={"seed": 7, "lr": 0.1},
        tags={"mlflow.source.git.commit": "c0ffee", **tags}, inputs=inputs(stage),
        produces=KINDS.get(stage),
    )  # fmt: skip


def metrics(spool: Spool, stage: str, steps: range = range(STEPS), attempt: int = 1) -> None:
    """Spool what a stage measures on its way."""
    for step in steps:
        values = {"loss": 1.0 / (step + 1)}
        spool.metrics(key(stage), values, step=step, attempt=attempt)


def output(stage: str) -> dict[str, Any]:
    """Return its output as `Spool.stage_finished` takes it."""
    name, _, label = TITLES[stage].partition(" · ")
    return {
        "digest": digest(stage), "key": key(stage), "stage": name, "label": label,
        "path": f"/store/{name}/{stage}", "size": 123, "produces": KINDS.get(stage),
    }  # fmt: skip


def end(spool: Spool, stage: str, attempt: int = 1) -> None:
    """Spool the metrics of the whole stage, and that it ended well."""
    spool.metrics(key(stage), _METRICS[stage], step=None, attempt=attempt)
    tags = {"sparring.output.output": digest(stage)}
    spool.stage_finished(key(stage), "FINISHED", tags=tags, output=output(stage))


def whole_stage(spool: Spool, stage: str) -> None:
    """Spool a stage from its beginning to its end."""
    begin(spool, stage)
    if stage in "cd":
        metrics(spool, stage)
    end(spool, stage)


def begin_run(spool: Spool) -> None:
    """Spool the beginning of the flow run."""
    spool.run_started(flow="apo", experiment="apo", params={"seed": 7}, tags={"sparring.seed": "7"})
    url = "http://127.0.0.1:4200/runs/flow-run/p1"
    spool.tags(None, {"sparring.prefect.flow_run": "p1", "sparring.prefect.url": url})


def lineage_page(folder: Path) -> Path:
    """Write a page with links to all stages and to one that nobody knows."""
    links = [
        f'<p><a id="{stage}" href="sparring:stage/{key(stage)}">{TITLES[stage]}</a></p>'
        for stage in _STAGES
    ]
    unknown = f'<p><a id="unknown" href="sparring:stage/{key("0")}">gone</a></p>'
    page = folder / "lineage.html"
    page.write_text(
        '<!doctype html><html><head><meta charset="utf-8"></head>'
        '<body><h1>Lineage</h1><p id="sparring-hint"></p>'
        f'{"".join(links)}{unknown}<p><a id="run" href="sparring:run/apo-1">apo-1</a></p>'
        "</body></html>"
    )
    return page


def spool_all(spool: Spool, folder: Path) -> None:
    """Spool a whole run whose models become candidates."""
    begin_run(spool)
    for stage in _STAGES:
        whole_stage(spool, stage)
    spool.files(None, [lineage_page(folder)], links=True)
    spool.files(key("f"), [lineage_page(folder)], links=True)
    models = {"policy": key("d"), "reward_model": key("c")}
    offered = [
        {**item, "role": KINDS[stage], "produces": KINDS[stage]}
        for stage in "dc"
        for item in (output(stage),)
    ]
    data = [item for item in inputs("a") if not item["key"]]
    spool.result({"policy/kl": 0.2}, models=offered, datasets=data, headline="APO-DPO-v1 leads")
    spool.alias_moved("apo", "candidate", models, {"win_rate": 0.6})
    spool.run_finished("FINISHED", "completed")
