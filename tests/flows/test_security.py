"""The security corpus S1–S12, walked whole: `docs/results/2026-11-30-security.md` has a row a case.

A row names the tests that show it blocked, or says why it is not. What no test of one part can show
– a slot that nobody thought of, a whole run's outputs, the command line – is tried here.
"""

from __future__ import annotations

import ast
import gzip
import io
import pickle
import re
import subprocess
import sys
import zipfile
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy
import pytest

from flows.servers.mlflow_server import mlflow_service
from tasks.data.groups import Group, Message
from tasks.data.sources.rows import read_rows
from tasks.models.source_checks import check_model_source
from tasks.models.tokens.own_template import OwnTemplate
from tasks.settings.errors import ConfigError, RecordError
from tasks.storage.home import Home
from tests.flows.command import CANARIES, Shell

PAGE = Path("docs/results/2026-11-30-security.md")
_ROW = re.compile(r"^\| (S\d+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def test_every_case_names_a_test_that_is_there_or_says_why_not() -> None:
    rows = _ROW.findall(PAGE.read_text("utf-8"))
    assert {number for number, _, _ in rows} == {f"S{number}" for number in range(1, 13)}
    for number, case, answer in rows:
        named = _TEST.findall(answer)
        assert named or answer.startswith("not blocked: "), (number, case)
        for file, name in named:
            tree = ast.parse(Path(file).read_text("utf-8"))
            found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
            assert name in found, f"{number}: {file} has no {name}"


class _Bomb:
    """Leaves a marker where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.marker), "w"))


def _torch_file(pickled: bytes) -> bytes:
    """Return a file as `torch.save` writes it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
    return file.getvalue()


def _numpy_file(bomb: _Bomb) -> bytes:
    """Return an array of objects, which numpy reads by pickle if it is let."""
    file = io.BytesIO()
    numpy.save(file, numpy.array([bomb], dtype=object), allow_pickle=True)
    return file.getvalue()


def test_s1_no_pickle_is_read_in_any_slot(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    bomb = _Bomb(marker)
    pickled = {f"protocol-{number}": pickle.dumps(bomb, number) for number in range(6)}
    files = {**pickled, "torch": _torch_file(pickled["protocol-2"]), "numpy": _numpy_file(bomb)}
    for name, data in files.items():
        for suffix in (".jsonl", ".json", ".csv", ".jsonl.gz", ".parquet", ".arrow"):
            path = tmp_path / f"{name}{suffix}"
            path.write_bytes(gzip.compress(data) if suffix.endswith(".gz") else data)
            _read_as_far_as_it_goes(path)
        for place in ("model.gguf", "model/pytorch_model.bin", "model/model.safetensors"):
            path = tmp_path / name / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        (tmp_path / name / "model" / "config.json").write_text('{"model_type": "gpt2"}')
        with pytest.raises(ConfigError):
            check_model_source(tmp_path / name / "model.gguf")
    _load_as_far_as_it_goes(tmp_path / "torch" / "model")
    assert not marker.exists()
    pickle.loads(pickled["protocol-4"])
    assert marker.exists(), "the bomb is one"


def _read_as_far_as_it_goes(path: Path) -> None:
    try:
        list(read_rows(path))
    except RecordError as error:
        assert path.name in str(error) and "\n" not in str(error)


def _load_as_far_as_it_goes(folder: Path) -> None:
    from tasks.models.policy import load_policy

    with pytest.raises(ConfigError, match="cannot be loaded|pickled"):
        load_policy(folder)


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{{ messages.append(1) }}",
        "{% for a in range(10 ** 9) %}{% endfor %}",
    ],
)
def test_s2_a_chat_template_reaches_nothing(source: str) -> None:
    """A template is a program of the model's maker; it runs in a sandbox."""
    with pytest.raises(RecordError, match="the model's chat template refuses the turns"):
        OwnTemplate(source, {}).require(Group((Message("user", "hello"),)))


def test_s1_to_s4_libraries_are_newer_than_their_holes() -> None:
    """CVE-2026-24747, CVE-2026-4372 and -5241, CVE-2026-2651 and -4137, CVE-2026-7722."""
    floors = {"torch": (2, 10), "transformers": (5, 3), "mlflow": (3, 11), "prefect": (3, 6, 22)}
    for name, floor in floors.items():
        found = tuple(int(part) for part in re.findall(r"\d+", version(name))[:3])
        assert found >= floor, (name, found)


def test_s3_servers_read_no_pickles_and_keep_their_own_names(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SERVER_ALLOWED_HOSTS", "runs.example.org")
    found = mlflow_service(home, home.root / "mlruns", "127.0.0.1", 5000).environment
    assert found["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    names = found["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert {"runs.example.org", "127.0.0.1:*", "localhost:*"} <= set(names)
    assert not any(fnmatchcase("10.evil.example.org:5000", name) for name in names)


def test_s5_a_whole_run_leaves_no_secret_of_its_environment(untouched: Shell) -> None:
    """It had them all: `untouched` runs with canaries for keys and passwords."""
    files = [path for path in untouched.folder.rglob("*") if path.is_file()]
    assert len(files) > 200 and any(path.name == "mlflow.db" for path in files)
    assert any(path.name == "prefect.db" for path in files)
    secrets = [value.encode() for value in CANARIES.values()]
    assert not [path for path in files if any(one in path.read_bytes() for one in secrets)]


@pytest.mark.parametrize("name", ["../../outside", "/etc/passwd", "a\nb"])
def test_s7_no_name_leads_out_of_the_store(finished: Shell, name: str) -> None:
    before = sorted(path.name for path in finished.folder.iterdir())
    for verb in ("show", "resume", "pin"):
        assert "\n" not in finished.refusal(verb, name)
    finished.refusal("export", name, "out")
    assert sorted(path.name for path in finished.folder.iterdir()) == before


READ = """
import re, sys
from pathlib import Path
from tasks.data.sources.rows import read_rows
from tasks.settings.errors import RecordError
try:
    print([row.problem for row in read_rows(Path(sys.argv[1]))])
except RecordError as error:
    print(error)
# Not `ru_maxrss`, which has the parent's.
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


@pytest.mark.parametrize(
    ("name", "problem"),
    [("line.jsonl", "longer than 67,108,864 bytes"), ("bomb.jsonl.gz", "expands more than 200")],
)
def test_s9_what_swells_is_named_in_little_memory(name: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(bytes(1 << 20)) * 300)
    else:
        with open(path, "wb") as line:
            line.truncate(200 << 20)  # of which nothing is on the disk
    command = [sys.executable, "-c", READ, str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert problem in said[0] and int(said[1]) < 512
