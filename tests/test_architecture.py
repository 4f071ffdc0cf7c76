"""The house as it stands keeps its rules, and each rule can fail."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import architecture_rooms
from tests import architecture_rules as rules
from tests.architecture_rules import Source

ROOT = Path(__file__).resolve().parent.parent


def _read(folder: str) -> list[Source]:
    paths = sorted((ROOT / folder).rglob("*.py"))
    return [
        Source(".".join(path.relative_to(ROOT).with_suffix("").parts), path.read_text("utf-8"))
        for path in paths
    ]


PRODUCT = _read("flows") + _read("tasks")
ELSEWHERE = _read("tests") + _read("benchmarks")
TASK_FILES = {source.name for source in PRODUCT if source.is_task_file}
PINNED = re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
# mkdocs brings the library watchdog; nothing of ours is installed beside it or imports it.
LIBRARIES = {name.replace("-", "_").lower() for name in PINNED} | {"yaml", "git", "attr"}
LIBRARIES -= {"watchdog"}

RULES = {
    "floors": lambda source: rules.floors(source, TASK_FILES),
    "placement": rules.placement,
    "lightness": rules.lightness,
    "writes": rules.writes,
    "stage_files": rules.stage_files,
    "documentation": rules.documentation,
    "sizes": rules.sizes,
    "names": lambda source: rules.names(source, LIBRARIES),
    "rooms": architecture_rooms.rooms,
}
HOUSE_RULES = {
    "circles": architecture_rooms.circles,
    "crowds": architecture_rooms.crowds,
    "repeated_names": architecture_rooms.repeated_names,
}


@pytest.mark.parametrize("rule", RULES)
def test_the_house_keeps_the_rule(rule: str) -> None:
    broken = [sentence for source in PRODUCT for sentence in RULES[rule](source)]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("rule", HOUSE_RULES)
def test_the_house_as_a_whole_keeps_the_rule(rule: str) -> None:
    broken = list(HOUSE_RULES[rule](PRODUCT))
    assert not broken, "\n".join(broken)


PLANTED = {
    "circles": [
        Source("tasks.storage.files", "def f():\n    from tasks.storage import planted"),
        Source("tasks.storage.planted", "if TYPE_CHECKING:\n    from tasks.storage.files import x"),
    ],
    "crowds": [Source(f"tasks.storage.planted_{number}", "") for number in range(16)],
    "repeated_names": [Source("flows.cli.digests", "")],
}


@pytest.mark.parametrize("rule", HOUSE_RULES)
def test_what_is_planted_turns_the_house_red(rule: str) -> None:
    planted = {source.name for source in PLANTED[rule]}
    house = [source for source in PRODUCT if source.name not in planted]
    assert not list(HOUSE_RULES[rule](house)), "without it the rule holds"
    assert list(HOUSE_RULES[rule]([*house, *PLANTED[rule]]))


@pytest.mark.parametrize("rule", ["sizes", "names"])
def test_tests_and_benchmarks_keep_the_rule(rule: str) -> None:
    broken = [sentence for source in ELSEWHERE for sentence in RULES[rule](source)]
    assert not broken, "\n".join(broken)


def test_mlflow_dvc_and_boto3_each_live_in_one_file_or_folder() -> None:
    for library in ("mlflow", "dvc", "boto3"):
        homes = {
            re.sub(r"(mlflow_record)\..*", r"\1", source.name)
            for source in PRODUCT
            for _, name, _ in rules.imports(source)
            if name.split(".")[0] == library
        }
        assert len(homes) <= 1, f"{library} is imported by {sorted(homes)}"


def test_no_text_names_a_folder_of_one_machine() -> None:
    kinds = {".py", ".md", ".toml", ".yaml", ".yml", ".sh", ".json", ".cfg", ".txt", ""}
    folders = ["flows", "tasks", "tests", "benchmarks", "infra", "docs", ".ci"]
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*")] + [*ROOT.glob("*")]
    broken = [
        sentence
        for path in paths
        if path.is_file() and path.suffix in kinds and path.name != "test_architecture.py"
        for sentence in rules.machine_paths(
            str(path.relative_to(ROOT)), path.read_text("utf-8", errors="replace")
        )
    ]
    assert not broken, "\n".join(broken)


DOC = '"""A."""\n'
BREAKS = {
    "floors": [
        ("tasks.storage.files", "from tasks.settings import base"),
        ("tasks.data.files", "def f():\n    from tasks.models.policy import load_policy"),
        ("tasks.data.files", "import importlib\nimportlib.import_module('tasks.models.policy')"),
        ("tasks.evaluation.report.tables", "import tasks.training.loop"),
        ("tasks.gold.client", "from tasks.models import scoring"),
        ("tasks.stages.key", "import flows.apo"),
        ("tasks.stages.key", "from tasks import prepare_data"),
        ("tasks.training.methods.dpo", "from ...stages import key"),
        ("tasks.attic.old", "import json"),
        ("flows.apo", "from tasks.attic import old"),
    ],
    "placement": [
        ("tasks.stages.key", "from prefect import task"),
        ("tasks.training.loop", "def f():\n    import prefect.runtime"),
        ("tasks.evaluation.report.document", "def f():\n    import mlflow"),
        ("tasks.storage.files", "import yaml"),
        ("tasks.objectives.dpo", "import numpy"),
        ("tasks.models.policy", "from accelerate import Accelerator"),
        ("tasks.training.loop", "import deepspeed"),
        ("tasks.training.loop", "from transformers.integrations import HfDeepSpeedConfig"),
        ("tasks.models.policy", "import trl"),
    ],
    "lightness": [
        ("flows.cli.main", "import torch"),
        ("flows.cli.main", "import prefect"),
        ("flows.servers.shared_server", "from prefect import get_client"),
        ("tasks.prepare_data", "try:\n    import datasets\nexcept ImportError:\n    pass"),
        ("tasks.tracking.mlflow_record", "class A:\n    import mlflow"),
    ],
    "writes": [
        ("tasks.data.files", "open(path, 'w')"),
        ("tasks.data.files", "import gzip\ngzip.open(path, mode='wt')"),
        ("tasks.data.files", "with path.open('ab') as out:\n    pass"),
        ("tasks.data.files", "(folder / 'a').write_text('x')"),
        ("tasks.training.checkpoint", "torch.save(state, path)"),
        ("tasks.evaluation.report.document", "json.dump(report, out)"),
        ("tasks.stages.commit", "os.replace(a, b)"),
    ],
    "stage_files": [
        ("tasks.prepare_data", "def prepare_data():\n    pass"),
        ("tasks.prepare_data", "@stage_task(version=1)\ndef other():\n    pass"),
        (
            "tasks.prepare_data",
            "@stage_task(version=1)\ndef prepare_data():\n" + "    a = 1\n" * 60,
        ),
    ],
    "documentation": [
        ("tasks.data.files", "def read():\n    pass"),
        ("tasks.data.files", "class Reader:\n    'A reader.'\n    def read(self):\n        pass"),
    ],
    "sizes": [
        ("tasks.data.files", "a = 1\n" * 301),
        ("tasks.data.files", "def f():\n    '''A.'''\n" + "    a = 1\n" * 61),
    ],
    "rooms": [
        ("tasks.models.tokens.encoding", "def f():\n    from tasks.models.server import process"),
        ("tasks.models.attic.old", "import json"),
        ("tasks.stages.leases.lease", "if TYPE_CHECKING:\n    import tasks.stages.lineage.graph"),
    ],
    "names": [("tasks.data.datasets", ""), ("tasks.data.json", ""), ("tasks.data.utils", "")],
}
KEEPS = {
    "floors": [
        ("tasks.stages.key", "import json\nfrom tasks.stages.artifact import Artifact"),
        ("tasks.prepare_data", "from tasks.data import prepare\nfrom tasks.stages import key"),
        ("tasks.training.methods.dpo", "from ..config import TrainingConfig"),
    ],
    "placement": [
        ("tasks.prepare_data", "import prefect"),
        (rules.BRIDGE, "import prefect"),
        ("tasks.tracking.mlflow_record", "def f():\n    import mlflow"),
        ("tasks.settings.base", "import yaml\nimport pydantic"),
    ],
    "lightness": [
        ("tasks.prepare_data", "def f():\n    import torch"),
        ("tasks.stages.key", "if TYPE_CHECKING:\n    import torch"),
        ("tasks.models.policy", "import torch"),
        ("flows.apo", "import prefect"),
    ],
    "writes": [
        ("tasks.data.files", "open(path)\nopen(path, 'rb')\ngzip.open(path, 'rt')"),
        ("tasks.storage.files", "open(path, 'w')"),
        ("tasks.models.policy", "model.save_pretrained(folder)\njson.dumps(a)"),
    ],
    "stage_files": [
        ("tasks.prepare_data", "@stage_task(version=1)\ndef prepare_data():\n    pass"),
        ("tasks.data.prepare", "def f():\n    pass"),
    ],
    "documentation": [
        ("tasks.data.files", "def _hidden():\n    def inner():\n        pass"),
    ],
    "sizes": [("tasks.data.files", "def f():\n    '''" + "A.\n" * 100 + "'''\n    return 1")],
    "rooms": [
        ("tasks.models.server.process", "from tasks.models.tokens.encoding import encode"),
        ("tasks.models.policy", "from tasks.models.server import process"),
        ("tasks.models.tokens.encoding", "from tasks.models import policy"),
    ],
    "names": [("tasks.data.groups", ""), ("tasks.data.__init__", "")],
}


def _cases(table: dict[str, list[tuple[str, str]]]) -> list[tuple[str, str, str]]:
    return [(rule, name, text) for rule, cases in table.items() for name, text in cases]


@pytest.mark.parametrize(("rule", "name", "text"), _cases(BREAKS))
def test_the_rule_can_fail(rule: str, name: str, text: str) -> None:
    document = "" if rule == "sizes" else DOC
    assert list(_apply(rule, Source(name, document + text)))


@pytest.mark.parametrize(("rule", "name", "text"), _cases(KEEPS))
def test_the_rule_lets_good_code_pass(rule: str, name: str, text: str) -> None:
    assert not list(_apply(rule, Source(name, DOC + text)))


def _apply(rule: str, source: Source):
    if rule == "floors":
        return rules.floors(source, {"tasks.prepare_data"})
    return RULES[rule](source)


def test_a_module_without_docstring_and_a_machine_path_are_found() -> None:
    assert list(rules.documentation(Source("tasks.data.files", "a = 1")))
    assert list(rules.machine_paths("a.md", "run it in `/home/me/sparring`"))
    assert not list(rules.machine_paths("a.md", "see .sparring/work/KEY and http://x/home/y"))


@pytest.mark.parametrize("name", [source.name.removesuffix(".__init__") for source in PRODUCT])
def test_every_module_imports(name: str) -> None:
    if not name.endswith("__main__"):
        importlib.import_module(name)


PROBE = """
import sys
sys.argv = ["sparring", *sys.argv[1:]]
from flows.cli.main import main
try:
    code = main()
except SystemExit as end:
    code = end.code
assert not code, f"exit code {code}"
heavy = [name for name in ("torch", "mlflow", "transformers", "datasets") if name in sys.modules]
assert not heavy, f"imported {heavy}"
"""


TINY = str(ROOT / "flows" / "configs" / "apo-tiny.yaml")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["plan", "apo", "-c", TINY]], ids=["help", "plan"]
)
def test_help_and_plan_import_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    # In a folder of its own: a plan makes the playground's data where it finds none.
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        cwd=tmp_path,
        env={**os.environ, "SPARRING_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
