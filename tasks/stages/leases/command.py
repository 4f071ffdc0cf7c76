"""Runs a command with GPUs of this machine leased: `python -m tasks.stages.leases.command 8 …`.

For the machines of a training on which no stage runs that could lease them.
"""

from __future__ import annotations

import os
import sys

from tasks.stages.leases.gpus import VISIBLE, held_gpus


def main(count: int, command: list[str]) -> None:
    """Become a command that holds so many GPUs until it ends, and sees only those.

    Args:
        count: How many; waited for if others have them. On a machine without GPUs it holds none.
        command: Words of the command.

    Raises:
        ConfigError: The machine has GPUs, and fewer than that.
    """
    with held_gpus(count, lambda text: print(text, file=sys.stderr, flush=True)) as held:
        if held.names:
            os.environ[VISIBLE] = ",".join(held.names)
        for descriptor in held.descriptors:
            os.set_inheritable(descriptor, True)
        os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
