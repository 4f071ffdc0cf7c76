"""The rules of the house, read from the syntax tree: nothing here imports the code it judges.

Each rule takes a `Source` and yields sentences that say what is wrong and where. The map of the
floors is in CONTRIBUTING.md; `test_architecture.py` applies the rules, and shows each one failing.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

FLOORS = {
    "tasks.stages": 5,
    "tasks.training": 4,
    "tasks.evaluation": 4,
    "tasks.models": 3,
    "tasks.gold": 3,
    "tasks.data": 2,
    "tasks.tracking": 2,
    "tasks.endpoints": 2,
    "tasks.objectives": 1,
    "tasks.storage": 1,
    "tasks.processes": 1,
    "tasks.settings": 0,
}
# These know nothing else of ours, so that they can be lifted out.
ALONE = {"tasks.objectives", "tasks.storage", "tasks.settings"}
ALLOWED_OUTSIDE = {
    "tasks.objectives": {"torch"},
    "tasks.storage": set(),
    "tasks.processes": {"psutil"},
    "tasks.settings": {"pydantic", "pydantic_core", "yaml"},
}
BRIDGE = "tasks.stages.prefect_task"
ONLY_IN = {
    "mlflow": "tasks.tracking.mlflow_record",
    "dvc": "tasks.tracking.store.dvc_repository",
    "dvc_data": "tasks.tracking.store.dvc_repository",
    "boto3": "tasks.tracking",
    "botocore": "tasks.tracking",
    "s3transfer": "tasks.tracking",
    "openai": "tasks.endpoints",
    "tenacity": "tasks.endpoints",
    "accelerate": "tasks.training",
    "deepspeed": "tasks.training.distributed.deepspeed_engine",
    "transformers.integrations.HfDeepSpeedConfig": "tasks.training.distributed.deepspeed_engine",
    "transformers.integrations.deepspeed": "tasks.training.distributed.deepspeed_engine",
    "trl": "nowhere: benchmarks and tests only",
}
HEAVY = set(
    "jinja2 torch transformers tokenizers safetensors datasets peft accelerate deepspeed mlflow dvc"
    " openai dvc_data boto3 s3fs matplotlib pandas pyarrow scipy sklearn".split()
)
LIGHT_FOLDERS = set(
    "tasks.stages tasks.settings tasks.storage tasks.data tasks.tracking tasks.endpoints".split()
)
# These run before Prefect is imported: it reads its settings from the environment then.
BEFORE_PREFECT = {
    f"flows.servers.{name}"
    for name in (
        "shared_server persistent service prefect_server prefect_process mlflow_server supervisor"
        " access sqlite_retry"
    ).split()
}
# A child's log is no part of the store.
MAY_WRITE = {"tasks.processes.detached", "tasks.processes.child"}
WRITING_CALLS = {
    "torch.save", "json.dump", "pickle.dump", "yaml.dump_all", "os.rename", "os.replace",
    "shutil.move", "shutil.copy", "shutil.copy2", "shutil.copyfile", "shutil.copytree",
    "numpy.save", "np.save", "numpy.savez", "np.savez", "save_file", "safetensors.torch.save_file",
}  # fmt: skip
MAX_FILE, MAX_TASK_FILE, MAX_FUNCTION = 300, 60, 60


@dataclass(frozen=True)
class Source:
    """One module: its dotted name and its text."""

    name: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The parsed text."""
        return ast.parse(self.text)

    @property
    def is_task_file(self) -> bool:
        """Whether it lies directly in tasks/."""
        return self.name.startswith("tasks.") and self.name.count(".") == 1 and not self.is_package

    @property
    def is_package(self) -> bool:
        """Whether it is the `__init__` of a folder."""
        return self.name.endswith(".__init__")

    @property
    def folder(self) -> str:
        """Its house folder: `flows`, `tasks` (for a task file) or `tasks.NAME`."""
        return folder_of(self.name, is_task_file=self.is_task_file)


def folder_of(name: str, *, is_task_file: bool) -> str:
    """Return the folder of the house that a dotted name lies in."""
    parts = name.removesuffix(".__init__").split(".")
    return parts[0] if parts[0] == "flows" or is_task_file else ".".join(parts[:2])


def floor_of(name: str, task_files: set[str]) -> int | None:
    """Return the floor of one of our modules, or of a name in it; None for what is not ours."""
    if name.split(".")[0] == "flows":
        return 7
    second = ".".join(name.split(".")[:2])
    if second in task_files:
        return 6
    return FLOORS.get(second)


def imports(source: Source) -> Iterator[tuple[int, str, str]]:
    """Yield (line, dotted name, `module` | `function` | `typing`) of every import."""

    def walk(node: ast.AST, where: str) -> Iterator[tuple[int, str, str]]:
        for child in ast.iter_child_nodes(node):
            inner = where
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                inner = "function"
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                inner = "typing"
            if isinstance(child, ast.Import):
                yield from ((child.lineno, alias.name, where) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                package = source.name.split(".")[: -child.level] if child.level else []
                base = ".".join([*package, *([child.module] if child.module else [])])
                yield from ((child.lineno, f"{base}.{alias.name}", where) for alias in child.names)
            elif isinstance(child, ast.Call) and _called(child) in (
                "importlib.import_module", "import_module", "__import__"
            ):  # fmt: skip
                if child.args and isinstance(child.args[0], ast.Constant):
                    yield child.lineno, str(child.args[0].value), where
            yield from walk(child, inner)

    yield from walk(source.tree, "module")


def _called(call: ast.Call) -> str:
    """Return the dotted name of what is called; of `x().y` only `y`."""
    names: list[str] = []
    node: ast.expr = call.func
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        names.append(node.id)
    return ".".join(reversed(names))


def _within(name: str, place: str) -> bool:
    return name == place or name.startswith(place + ".")


def floors(source: Source, task_files: set[str]) -> Iterator[str]:
    """Imports go strictly down, or stay in the own folder."""
    own = floor_of(source.name, task_files)
    if own is None and source.name not in ("tasks.__init__", "flows.__init__"):
        yield f"{source.name} lies in no folder of the house"
        return
    for line, name, _ in imports(source):
        if name.split(".")[0] not in ("flows", "tasks"):
            continue
        other = floor_of(name, task_files)
        same = folder_of(name, is_task_file=other == 6) == source.folder
        if other is None:
            yield f"{source.name}:{line} imports {name}, which is no module of the house"
        elif not same and (source.folder in ALONE or other >= (own or 0)):
            yield f"{source.name}:{line} (floor {own}) imports {name} (floor {other})"


def placement(source: Source) -> Iterator[str]:
    """Each library of the outside world has its place; the lowest floor knows almost none."""
    allowed = ALLOWED_OUTSIDE.get(source.folder)
    for line, name, _ in imports(source):
        top = name.split(".")[0]
        if top == "prefect":
            flow_or_task = source.folder == "flows" or source.is_task_file or source.name == BRIDGE
            if not flow_or_task:
                yield f"{source.name}:{line} imports prefect: only flows, tasks/*.py and the bridge"
        for library, place in ONLY_IN.items():
            if _within(name, library) and not _within(source.name, place):
                yield f"{source.name}:{line} imports {name}, whose place is {place}"
        outside = top not in ("flows", "tasks") and top not in sys.stdlib_module_names
        if allowed is not None and outside and top not in allowed:
            yield f"{source.name}:{line} imports {name}: {source.folder} takes {sorted(allowed)}"


def lightness(source: Source) -> Iterator[str]:
    """Heavy libraries are imported in the function that needs them, where start-up counts."""
    is_command_line = source.name == "flows.cli.main" or _within(source.name, "flows.cli.commands")
    light = source.folder in LIGHT_FOLDERS or source.is_task_file or is_command_line
    # The environment must be set before Prefect is imported.
    before_prefect = is_command_line or source.name in BEFORE_PREFECT
    before_prefect |= source.folder in LIGHT_FOLDERS and source.name != BRIDGE
    for line, name, where in imports(source):
        top = name.split(".")[0]
        if where == "module" and (
            (light and top in HEAVY) or (before_prefect and top == "prefect")
        ):
            yield f"{source.name}:{line} imports {top} at module level"


def writes(source: Source) -> Iterator[str]:
    """Only tasks/storage writes files by itself."""
    if source.folder == "tasks.storage" or source.name in MAY_WRITE:
        return
    for call in (node for node in ast.walk(source.tree) if isinstance(node, ast.Call)):
        name = _called(call)
        last = name.split(".")[-1]
        values = [*call.args[:2], *(word.value for word in call.keywords if word.arg == "mode")]
        modes = [value.value for value in values if isinstance(value, ast.Constant)]
        for_writing = last in ("open", "fdopen", "NamedTemporaryFile") and any(
            isinstance(mode, str)
            and re.fullmatch(r"[rwaxbt+]{1,3}", mode)
            and set(mode) & set("wax+")
            for mode in modes
        )
        if for_writing or last in ("write_text", "write_bytes") or name in WRITING_CALLS:
            yield f"{source.name}:{call.lineno} writes by {name}(): use tasks.storage"


def stage_files(source: Source) -> Iterator[str]:
    """A file directly in tasks/ is a thin Prefect task, named as the file."""
    if not source.is_task_file:
        return
    stem = source.name.split(".")[1]
    for node in source.tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == stem:
            words = {ast.unparse(mark).split("(")[0].split(".")[-1] for mark in node.decorator_list}
            if words & {"stage_task", "task"}:
                break
    else:
        yield f"tasks/{stem}.py defines no task {stem}(): a helper belongs in a folder"
    if (length := len(source.text.splitlines())) > MAX_TASK_FILE:
        yield f"tasks/{stem}.py has {length} lines: a task is thin ({MAX_TASK_FILE})"


def documentation(source: Source) -> Iterator[str]:
    """Every module, and every public function, class and method, says what it is."""
    if not ast.get_docstring(source.tree):
        yield f"{source.name} has no docstring"

    def walk(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[str]:
        for child in node.body:
            if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            overload = any("overload" in ast.unparse(mark) for mark in child.decorator_list)
            if child.name.startswith("_") or overload:
                continue
            if not ast.get_docstring(child):
                yield f"{source.name}:{child.lineno} {prefix}{child.name} has no docstring"
            if isinstance(child, ast.ClassDef):
                yield from walk(child, f"{child.name}.")

    yield from walk(source.tree, "")


def sizes(source: Source) -> Iterator[str]:
    """Files and functions stay small; a docstring does not count against a function."""
    if (length := len(source.text.splitlines())) > MAX_FILE:
        yield f"{source.name} has {length} lines, {MAX_FILE} at most (aim at 250)"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            documented = ast.get_docstring(node) is not None and len(node.body) > 1
            first = node.body[1].lineno if documented else node.lineno
            if (length := (node.end_lineno or first) - first + 1) > MAX_FUNCTION:
                yield f"{source.name}:{node.lineno} {node.name} has {length} lines of code"


def names(source: Source, libraries: set[str]) -> Iterator[str]:
    """No file or folder is named after a library, and none `utils`."""
    for part in source.name.removesuffix(".__init__").split(".")[1:]:
        if part in libraries or part in sys.stdlib_module_names:
            yield f"{source.name}: {part} is also the name of a library"
        if part in ("utils", "helpers", "misc", "common"):
            yield f"{source.name}: {part} says nothing"


def machine_paths(name: str, text: str) -> Iterator[str]:
    """No text names a folder of somebody's machine."""
    pattern = r"(?<![\w.}\-/*])/(?:work|root|home|Users)/(?!\s)"
    for number, line in enumerate(text.splitlines(), 1):
        if re.search(pattern, line):
            yield f"{name}:{number} names a folder of one machine: {line.strip()[:80]}"
