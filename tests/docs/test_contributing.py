"""What CONTRIBUTING.md shows is true: each of its diffs applies to the tree and does what it says.

All of them are applied to one copy of the tree, in which the code is then run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.databases import Databases

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
DIFFS = dict(re.findall(r"^### Add an? ([a-z ]+)\n.*?^```diff\n(.*?)^```$", TEXT, re.M | re.S))
SMALL = ROOT / "tests/flows/configs"
PLAYGROUND = (
    "data.playground={folder: data/playground, entities: 4, preferences: 120, test: 24, "
    "demonstrations: 100, extra: 20}"
)
COMMANDS = """
import json, sys
from flows.cli.main import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["sparring", *words]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""


class Copy:
    """A copy of the tree with all diffs applied, and a folder to use it in."""

    def __init__(self, tree: Path, folder: Path) -> None:
        self.tree, self.folder = tree, folder

    def python(self, *words: str, cwd: Path | None = None) -> str:
        """Run Python on the copy's code, in the folder, and return what it printed."""
        done = subprocess.run(
            [sys.executable, *words],
            cwd=cwd or self.folder,
            env={
                **{name: value for name, value in os.environ.items() if "PYTEST" not in name},
                "PYTHONPATH": str(self.tree),
                "SPARRING_HOME": str(self.folder / ".sparring"),
                "COLUMNS": "120",
            },
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def sparring(self, *commands: tuple[str, ...]) -> str:
        """Run some commands after one another in one process."""
        return self.python("-c", COMMANDS, json.dumps(commands))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Copy:
    tree, folder = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("folder")
    databases.copy("mlflow", folder / "mlruns")
    for name in ("flows", "tasks", "tests"):
        # What is compiled comes along, but for files that another process writes just now.
        ignored = shutil.ignore_patterns("*.pyc.*")
        shutil.copytree(ROOT / name, tree / name, ignore=ignored)
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tree)
    # A repository of its own: inside another one `git apply` skips what lies outside of it.
    subprocess.run(["git", "init", "--quiet"], cwd=tree, check=True)
    for diff in DIFFS.values():
        subprocess.run(["git", "apply", "-"], cwd=tree, input=diff, text=True, check=True)
    return Copy(tree, folder)


def test_each_kind_of_addition_has_a_diff() -> None:
    assert list(DIFFS) == ["objective", "stage", "flow", "data form"]


def test_an_objective_touches_at_most_four_files() -> None:
    """Both flows, tests aside, and with a line in the changelog."""
    touched = re.findall(r"^diff --git a/(\S+)", DIFFS["objective"], re.M)
    assert len(touched) + len(["CHANGELOG.md"]) <= 4
    assert not [name for name in touched if not name.startswith("tasks/")]


def test_what_is_added_keeps_the_rules_of_the_house(copy: Copy) -> None:
    new = re.findall(r"^diff --git a/(\S+\.py) ", "".join(DIFFS.values()), re.M)
    assert "flows/audit.py" in new
    copy.python("-m", "ruff", "check", "--quiet", *new, cwd=copy.tree)
    copy.python("-m", "ruff", "format", "--check", "--quiet", *new, cwd=copy.tree)
    house = ("-k", "the_house", "tests/test_architecture.py")
    copy.python("-m", "pytest", "-q", "-p", "no:cacheprovider", *house, cwd=copy.tree)


def test_the_objective_is_computed_selected_and_trained(copy: Copy) -> None:
    """By the tests that do so with every method: they find it in the registry."""
    told = copy.python(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "--doctest-modules", "-k", "ipo"),
        *("tasks/objectives/dpo.py", "tests/tasks/training/methods"),
        "tests/tasks/training/updates/test_policy.py",
        cwd=copy.tree,
    )
    passed = re.search(r"(\d+) passed", told)
    assert passed and int(passed[1]) >= 3, told


def test_the_objective_is_in_both_flows(copy: Copy) -> None:
    apo = ("apo", "-c", str(SMALL / "small.yaml"), "--set", "policy.method=ipo")
    branches = "branches=[{method: ipo, beta_pi: [0.1, 0.5]}, {method: dpo, beta_pi: 0.1}]"
    exo = ("exo", "-c", str(SMALL / "exo-small.yaml"), "--set", branches)
    shown = copy.sparring(("run", *apo, "--dry-run"), ("run", *exo, "--dry-run"))
    assert "method: ipo" in shown and shown.count("beta_pi") == 2
    game, sweep = (
        [f"{one['stage']} {one['label']}" for one in json.loads(line)]
        for line in _lists(copy.sparring(("plan", *apo, "--json"), ("plan", *exo, "--json")))
    )
    assert {"compute_reference_logps APO-IPO-v1", "update_policy APO-IPO-v1"} <= set(game)
    trained = [one for one in sweep if one.startswith("update_policy ") and "SFT" not in one]
    assert trained == [
        f"update_policy {one} s0" for one in ("IPO β=0.1", "IPO β=0.5", "DPO-pref β=0.1")
    ]
    # One pass of π_sft over the pairs serves IPO and DPO.
    assert len([one for one in sweep if one.startswith("compute_reference_logps")]) == 1


def _lists(text: str) -> list[str]:
    """Return the JSON lists that were printed after one another."""
    decoder, found = json.JSONDecoder(), []
    while text := text.strip():
        _, end = decoder.raw_decode(text)
        found.append(text[:end])
        text = text[end:]
    return found


STAGE_AND_FORM = """
import json
from pathlib import Path
from tasks.count_words import count_words
from tasks.data.files import write_groups
from tasks.data.sources.config import SourceConfig
from tasks.data.sources.reader import detect_format, read_source
from tasks.data.word_counts import WordCountConfig
from tasks.stages.artifact import external_artifact
from tasks.stages.stage import call_stage

row = {"question": "tea?", "answer_good": "yes, with milk", "answer_bad": "no"}
Path("pairs.jsonl").write_text(json.dumps(row))
source = SourceConfig(path="pairs.jsonl")
groups = list(read_source(source, print))
write_groups(Path("groups"), groups)
states = []
for long in (3, 3, 2):
    words = {"config": WordCountConfig(long=long)}
    call = count_words.spec.bind((external_artifact(Path("groups")),), words, "")
    artifact, record = call_stage(call)
    states.append(record.state)
print(json.dumps([detect_format(source), groups[0].responses, groups[0].scores, states]))
print((artifact.path / "report.md").read_text())
"""


def test_the_stage_is_called_once_and_the_form_is_read(copy: Copy) -> None:
    """The second call is found done; with another setting it is another call."""
    first, _, report = copy.python("-c", STAGE_AND_FORM).partition("\n")
    form, responses, scores, states = json.loads(first)
    assert (form, responses, scores) == ("good_bad", ["yes, with milk", "no"], [1.0, 0.0])
    assert states == ["completed", "cached", "completed"]
    assert "- mean_words: 2\n- long: 1\n" in report


FLOW = """
import sys
from flows.registry import find_flow, read_config
from flows.steps.inputs import input_digests
from tasks.settings.loading import dump_config
from tasks.stages.flow_run import open_run

entry = find_flow("audit")
config = read_config(entry, None, sys.argv[1:])
with open_run("audit", config=config.model_dump(mode="json"), config_text=dump_config(config)):
    print((entry.flow().fn(config).path / "report.md").read_text())
print(sorted(input_digests(config)))
"""


def test_the_flow_runs_through_and_is_done(copy: Copy) -> None:
    told = copy.python("-c", FLOW, PLAYGROUND)
    # A scheduled run sees when a file has changed.
    assert "# Words of the responses" in told and "data/playground/preferences.jsonl" in told
    (planned,) = _lists(copy.sparring(("plan", "audit", "--set", PLAYGROUND, "--json")))
    stages: list[dict[str, Any]] = json.loads(planned)
    assert [(one["stage"], one["state"]) for one in stages] == [
        ("prepare_data", "done"),
        ("count_words", "done"),
    ]


@pytest.mark.slow
def test_the_flow_is_run_by_the_command_line(copy: Copy) -> None:
    told = copy.sparring(("run", "audit", "--set", PLAYGROUND, "--set", "words.long=3"))
    assert "Words of the responses" in told
