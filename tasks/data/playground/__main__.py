"""Generate a playground: `python -m tasks.data.playground [--folder FOLDER] [--seed N]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tasks.data.playground.config import PlaygroundConfig
from tasks.data.playground.generator import ensure_playground
from tasks.settings.errors import ConfigError


def main(arguments: list[str] | None = None) -> int:
    """Generate the playground unless it is there; return the exit code."""
    defaults = PlaygroundConfig()
    parser = argparse.ArgumentParser(
        prog="python -m tasks.data.playground", description="Generate a playground data set."
    )
    parser.add_argument(
        "--folder", type=Path, default=defaults.folder, help="where to put it (%(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=defaults.seed, help="decides the whole content (%(default)s)"
    )
    options = parser.parse_args(arguments)
    config = PlaygroundConfig(folder=options.folder, seed=options.seed)
    try:
        print(f"playground in {ensure_playground(config)}")
    except ConfigError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
