"""The flows: the order of the work, their configurations and the command line.

Importing this package checks that `tasks` is the package installed beside it. The name is
generic: a `tasks.py` or a `tasks/` in the current folder or on PYTHONPATH would be imported in
its place, and fail much later with an error that names neither.
"""

from importlib.util import find_spec
from pathlib import Path


def _refuse_stray_tasks() -> None:
    """Raise ImportError when `import tasks` would find something else than our package."""
    ours = Path(__file__).resolve().parent.parent / "tasks"
    spec = find_spec("tasks")
    if spec is None:
        raise ImportError(f"the package `tasks` is missing beside {Path(__file__).parent}")
    found = [Path(place).resolve() for place in spec.submodule_search_locations or []]
    if ours in found:
        return
    stray = spec.origin or ", ".join(map(str, found))
    raise ImportError(
        f"{stray} hides Sparring's own package `tasks` ({ours}): rename it, "
        "or start Python from another folder and take it off PYTHONPATH"
    )


_refuse_stray_tasks()
