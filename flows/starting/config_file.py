"""Writes a configuration of the user's own: a ready one, fitted to the data, comments and all."""

from __future__ import annotations

import re
import shlex
from io import StringIO
from pathlib import Path
from typing import Any

from flows.registry import CONFIGS, FLOWS, FlowEntry, find_flow, ready_config
from flows.starting.fitting import VOCABULARY, Fit
from flows.starting.questions import CHOSEN, SMALL, Answers, takes_gold
from tasks.data.inspection.spread import lengths_cell
from tasks.data.sources.tally import MAX_BAD_SHARE
from tasks.settings.errors import ConfigError
from tasks.settings.yaml_text import read_yaml
from tasks.storage.files import write_atomic

_RATES: dict[str, Any] = {
    "sft.training": {"learning_rate": 1e-5, "num_train_epochs": 1},
    "reward.training": {
        "learning_rate": 1e-5,
        # At the backbone's rate a head that starts at zero stands still for hundreds of pairs.
        "head_learning_rate": 1e-4,
        "num_train_epochs": 1,
    },
    "policy": {"learning_rates": [5e-6, 2e-6]},
    "training": {"learning_rate": 1e-6},
}
"""What a pretrained model is trained with instead: small steps, as in the papers."""
_PLAIN = re.compile(r"[A-Za-z_./][\w./-]*")
"""Names that need no quotes, unless they mean something else."""


def require_free(output: Path, *, force: bool) -> None:
    """Refuse to overwrite a file without `force`.

    Raises:
        ConfigError: It is there already.
    """
    if output.exists() and not force:
        raise ConfigError(f"{output} is there already: name another --output, or add --force")


def write_config(answers: Answers, found: Fit, output: Path) -> None:
    """Write the configuration of the flow that was asked for, in place of what is there."""
    entry = find_flow(answers.flow)
    yaml = _round_trip()
    lines = (CONFIGS / entry.for_pairs).read_text("utf-8").splitlines(keepends=True)
    tree = yaml.load("".join(line for line in lines if not line.startswith("#")))
    _put_data(tree, answers, found)
    _put_model(tree, answers, found)
    text = StringIO()
    yaml.dump(tree, text)
    write_atomic(output, _header(entry, answers, found, output) + text.getvalue())


def copy_example(name: str, output: Path | None, *, force: bool) -> Path:
    """Copy a ready configuration, named by its flow or as in `sparring ls configs`; return where.

    Raises:
        ConfigError: There is none of this name, or the file is there.
    """
    path = CONFIGS / FLOWS[name].default if name in FLOWS else ready_config(name)
    output = output or Path(path.name)
    require_free(output, force=force)
    text = path.read_text("utf-8")
    text = text.replace(f"flows/configs/{path.name}", shlex.quote(str(output)))
    write_atomic(output, text)
    return output


def _round_trip() -> Any:
    """Return a reader and writer of YAML that keeps comments and the way things are written."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 4096
    return yaml


def _put_data(tree: Any, answers: Answers, found: Fit) -> None:
    data = tree["data"]
    data["preferences"] = [_source(path, answers) for path in answers.data]
    if answers.test:
        data.insert(1, "test", [_source(answers.test, answers)])
        data.insert(2, "overlap", "drop")  # a prompt that both have would stop the run
    shares = ["dev_share", *([] if answers.test else ["test_share"])]
    if "rm_share" in data["split"]:  # else reward model and policies learn from the same pairs
        shares.insert(0, "rm_share")
    data["split"].clear()
    data["split"].update({name: getattr(found.split, name) for name in shares})
    if found.split.seed:
        data["split"]["seed"] = found.split.seed
    if answers.max_bad_share != MAX_BAD_SHARE:
        data["max_bad_share"] = answers.max_bad_share
    if "gold" in tree and answers.gold != CHOSEN:
        tree["gold"] = {"path": _text(answers.gold)}


def _source(path: Path, answers: Answers) -> dict[str, Any]:
    named = {ours: _text(theirs) for ours, theirs in answers.fields}
    return {"path": _text(path), **({"fields": named} if named else {})}


def _put_model(tree: Any, answers: Answers, found: Fit) -> None:
    prompt, response = found.max_prompt_tokens, found.max_response_tokens
    tree["sft"]["limits"]["max_prompt_tokens"] = prompt  # the other limits are the same by anchor
    tree["sft"]["limits"]["max_response_tokens"] = response
    if answers.model == SMALL:
        tree["model"]["architecture"]["context"] = prompt + response
        tree["model"]["vocabulary"] = VOCABULARY
    else:
        kind = "path" if Path(answers.model).exists() else "hub"
        tree["model"].clear()
        tree["model"].update({kind: _text(answers.model), "template": None})
        for place, values in _RATES.items():
            for key, value in values.items() if (node := _at(tree, place)) else ():
                if isinstance(value, list):
                    node[key][:] = value  # in place, so that it stays on its line
                else:
                    node[key] = value
    for place in ("sampling", "evaluation.sampling"):
        if node := _at(tree, place):
            node["max_new_tokens"] = found.max_new_tokens
    for node in (_at(tree, place) for place in ("model", "sft", "reward", "policy")):
        if node and found.template:
            node["template"] = found.template
        elif node:
            del node["template"]


def _at(tree: Any, place: str) -> Any:
    """Return the part of a tree at a dotted key, or None."""
    for key in place.split("."):
        tree = tree.get(key) if tree is not None else None
    return tree


def _text(value: str | Path) -> Any:
    """Return a name of the user's as YAML that reads back as it is, whatever is in it."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    text = str(value)
    if _PLAIN.fullmatch(text) and read_yaml(text, "a name") == text:
        return text
    return DoubleQuotedScalarString(text.replace("${", "$${"))


def _header(entry: FlowEntry, answers: Answers, found: Fit, output: Path) -> str:
    """Return the comment that the file begins with: what it is, what was found, what to type."""
    files = ", ".join(f"{file.path} ({file.groups:,} {file.format})" for file in found.report.files)
    lengths = [file.tokens for file in found.report.files if file.tokens][0]
    template = found.template or "the model's own"
    words = f"{entry.name} -c {shlex.quote(str(output))}"
    gold = "the pairs' own chosen answers" if answers.gold == CHOSEN else str(answers.gold)
    lines = [
        f"The flow {entry.name} on your own pairs, written by `sparring init`; change it freely.",
        f"Reads: {files}",
        *([f"Gold:  {gold}"] if takes_gold(entry.name) else []),
        f"Found: prompts {lengths_cell(lengths.prompt)} tokens;",
        f"       responses {lengths_cell(lengths.response)} tokens; template: {template}",
        *(line[:1].upper() + line[1:] for line in found.about_limits()),
        f"Check: sparring run {words} --dry-run",
        f"Plan:  sparring plan {words}",
        f"Run:   sparring run {words}",
    ]
    return "".join(f"# {line}\n" for line in lines)
