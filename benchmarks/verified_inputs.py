"""What it costs that every file is verified before it is used.

    python benchmarks/verified_inputs.py [--home .sparring] [--model-path models/NAME]

For each finished stage of a home: the milliseconds of looking it up with its files compared, beside
those of looking at sizes alone. For a model: the seconds of reading it through once, which happens
only to files that changed since they were written, beside the seconds of loading it. The targets
are 100 ms per stage and 3 % of a run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.harness import timed
from tasks.stages.lookup import find_status
from tasks.stages.manifest import damaged_files, list_manifests
from tasks.storage.digests import digest_tree
from tasks.storage.home import Home
from tasks.tracking.store.verified_files import damage_of


def stages(home: Home, repeats: int) -> None:
    """Print what a look at each finished stage costs, with and without its content."""
    made = [one for one in list_manifests(home) if one.folder(home).is_dir()]
    first = [timed(lambda one=one: find_status(home, None, one.stage, one.key)) for one in made]
    again = [
        median(timed(lambda one=one: find_status(home, None, one.stage, one.key))
               for _ in range(repeats))
        for one in made
    ]  # fmt: skip
    sizes = [median(timed(lambda one=one: damaged_files(home, one)) for _ in range(repeats))
             for one in made]  # fmt: skip
    print(f"{len(made)} finished stages, {sum(one.size for one in made) / 1e6:.1f} MB")
    for title, values in (("first look", first), ("look again", again), ("sizes alone", sizes)):
        print(
            f"{title:12}  median {1e3 * median(values):7.2f} ms  most {1e3 * max(values):7.2f} ms"
        )


def model(folder: Path) -> None:
    """Print what reading a model through costs beside loading it."""
    import torch
    from transformers import AutoModelForCausalLM

    files = digest_tree(folder)
    size = sum(file.size for file in files)
    load: Callable[[], object] = lambda: AutoModelForCausalLM.from_pretrained(  # noqa: E731
        folder, dtype=torch.bfloat16
    )
    with TemporaryDirectory() as memory:
        record = Path(memory, "record.json")
        first = timed(lambda: damage_of(folder, files, record))
        again = timed(lambda: damage_of(folder, files, record))
    print(f"{folder.name}: {size / 1e6:.0f} MB, loaded in {timed(load):.2f} s")
    print(f"read through once {first:.3f} s, looked at again {1e3 * again:.2f} ms")


def main(home: Path = Path(".sparring"), model_path: Path | None = None, repeats: int = 20) -> None:
    """Print the cost of verification, for a home's stages and for a model."""
    if home.is_dir():
        stages(Home(home.absolute()), repeats)
    if model_path is not None:
        model(model_path)


if __name__ == "__main__":
    typer.run(main)
