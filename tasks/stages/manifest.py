"""The manifest: one file per finished stage, and the only thing that says it is finished.

It is written last, in one step. What may differ between two equal results (when, where, how long)
lies in its `provenance`, apart from what describes the result itself.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tasks.storage.digests import FileDigest, code_digest, digest_file, sha256_json
from tasks.storage.errors import CorruptError
from tasks.storage.files import put_if_absent, read_json
from tasks.storage.home import Home
from tasks.storage.plain import json_text, plain_metrics
from tasks.tracking.store.verified_files import damage_of, remember

_LIBRARIES = ("sparring", "torch", "transformers", "accelerate", "tokenizers", "dvc", "numpy")


@dataclass(frozen=True, slots=True)
class InputRecord:
    """One input of a stage, by role."""

    digest: str
    """DVC's md5 of what was read."""
    stage: str
    """The stage that made it; "external" for a user's file."""
    key: str
    """Key of the stage that made it; empty for a user's file."""
    part: str = ""
    """Path of the part of that stage's output; empty for all of it."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a finished stage read, how it was configured, and what it made."""

    key: str
    """SHA-256 of all it may depend on."""
    stage: str
    """The stage's name."""
    version: int
    """The stage's version, raised by hand when its body changes meaning."""
    config: Any
    """The part of its config that is in the key, as plain values; None for no config."""
    seed: int | None
    """Seed of its random choices; None where it makes none."""
    inputs: dict[str, InputRecord]
    """Its inputs by role; a list's items are called `role.0`, `role.1` …"""
    digest: str
    """DVC's md5 of the output."""
    files: tuple[FileDigest, ...]
    """Every file of the output, sorted by path."""
    metrics: dict[str, float]
    """The metrics that the stage's body returned."""
    label: str = ""
    """A name of this call for people, as in `epoch 1`."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Further plain arguments."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Time, run, attempt, duration, libraries, git commit and code digest."""

    @property
    def size(self) -> int:
        """Bytes of the output."""
        return sum(file.size for file in self.files)

    def folder(self, home: Home) -> Path:
        """Return where the output lies."""
        return artifact_folder(home, self.stage, self.key)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, sealed by their own digest so that damage is noticed."""
        plain = asdict(self)
        plain["metrics"] = plain_metrics(self.metrics)
        return {**plain, "seal": sha256_json(plain)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Manifest:
        """Read what `to_json` returned.

        Raises:
            CorruptError: When the seal is broken or a field is missing.
        """
        try:
            plain = dict(values)
            seal = plain.pop("seal", "")
            names = {item.name for item in fields(cls)}
            is_whole = sha256_json(plain) == seal and set(plain) == names
        except (TypeError, ValueError):
            is_whole = False
        if not is_whole:
            raise CorruptError("its content does not match its seal")
        plain["files"] = tuple(FileDigest(**file) for file in plain["files"])
        plain["inputs"] = {role: InputRecord(**item) for role, item in plain["inputs"].items()}
        plain["metrics"] = {name: float(value) for name, value in plain["metrics"].items()}
        return cls(**plain)


def artifact_folder(home: Home, stage: str, key: str) -> Path:
    """Return where a stage's output is, or will be, published."""
    return home.store / stage / key[:16]


def manifest_path(home: Home, stage: str, key: str) -> Path:
    """Return the file that says, by being there, that the stage is done."""
    return home.manifests / stage / f"{key}.json"


def load_manifest(home: Home, stage: str, key: str) -> Manifest | None:
    """Read the manifest of a finished stage, or None if there is none.

    Raises:
        CorruptError: When the file is damaged, naming it.
    """
    path = manifest_path(home, stage, key)
    try:
        return Manifest.from_json(read_json(path))
    except FileNotFoundError:
        return None
    except CorruptError as error:
        raise CorruptError(
            f"{path} is damaged: {error}; run its flow again, which makes its result anew"
        ) from error


def list_manifests(home: Home, stage: str = "*", *, strict: bool = False) -> list[Manifest]:
    """Return the manifests of a stage, or of all stages, the oldest first.

    Raises:
        CorruptError: When one is damaged, if `strict`; else it is left out.
    """
    found = []
    for path in home.manifests.glob(f"{stage}/*.json"):
        try:
            manifest = load_manifest(home, path.parent.name, path.stem)
        except CorruptError:
            if strict:
                raise
            continue
        if manifest is not None:
            found.append(manifest)
    return sorted(found, key=lambda item: str(item.provenance.get("created", "")))


def damaged_files(home: Home, manifest: Manifest, *, verify: bool = False) -> list[str]:
    """Name the files of a finished stage that differ from its manifest; `verify` reads them all.

    Returns:
        Sentences such as `model.safetensors is missing`; empty when all is well.
    """
    folder = manifest.folder(home)
    problems = (file_problem(folder, file, verify=verify) for file in manifest.files)
    return [problem for problem in problems if problem]


def content_damage(
    home: Home, manifest: Manifest, files: Sequence[FileDigest] = (), *, again: bool = False
) -> dict[str, str]:
    """Compare the content of an output's files with the manifest, reading each only once.

    Args:
        home: The home that holds the output.
        manifest: The output's manifest.
        files: Those of its files that matter; all by default.
        again: Read all of them, also those that were read before and did not change since.

    Returns:
        By path a sentence for each that is missing or not what it must be.
    """
    wanted = files or manifest.files
    return damage_of(manifest.folder(home), wanted, _verified(home, manifest), again=again)


def remember_content(home: Home, manifest: Manifest) -> None:
    """Remember that an output was digested while it was written; call it when it is in place."""
    remember(manifest.folder(home), manifest.files, _verified(home, manifest))


def _verified(home: Home, manifest: Manifest) -> Path:
    return home.root / "verified" / f"{manifest.key}.json"


def file_problem(folder: Path, file: FileDigest, *, verify: bool = False) -> str:
    """Return how one file of an output differs from its record, or nothing; as `damaged_files`."""
    path = folder / file.path
    try:
        size = path.stat().st_size
    except OSError:
        return f"{file.path} is missing"
    if size != file.size:
        return f"{file.path} has {size} bytes, expected {file.size}"
    if verify and digest_file(path).sha256 != file.sha256:
        return f"{file.path} does not have the SHA-256 it was committed with"
    return ""


def commit_manifest(home: Home, manifest: Manifest) -> bool:
    """Write a manifest, which makes its stage done, unless there is one; return whether it did."""
    path = manifest_path(home, manifest.stage, manifest.key)
    return put_if_absent(path, manifest_text(manifest))


def manifest_text(manifest: Manifest) -> str:
    """Return a manifest as it is written."""
    return json_text(manifest.to_json(), indent=1) + "\n"


@lru_cache(maxsize=1)
def environment() -> dict[str, Any]:
    """Return the libraries and the code that this process uses: versions, commit and digest."""
    libraries = {}
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            libraries[name] = version(name)
    return {"libraries": libraries, "git_commit": _git_commit(), "code": code_digest()}


def _git_commit() -> str:
    """Return the commit of this code, with "-dirty" when it was changed since; "" outside git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
