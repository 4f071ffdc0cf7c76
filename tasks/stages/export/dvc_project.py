"""A git repository of `.dvc` files, by which `dvc get` and `dvc import` find outputs by name.

It holds no bytes of them: they come from the remote, or from this machine's store.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tasks.settings.errors import ConfigError
from tasks.settings.passwords import without_passwords
from tasks.stages.manifest import Manifest
from tasks.stages.remote.transfer import read_manifest
from tasks.storage.files import write_atomic
from tasks.storage.home import Home
from tasks.tracking.remote.base import Remote
from tasks.tracking.store.cache_index import cached_objects, pointer_of, pointer_text
from tasks.tracking.store.git_commit import commit_files

_MARK = "# Written by `sparring export --format dvc`."
_README = """# Artifacts by name

`.dvc` files for DVC, each naming an output of a run by its content. The bytes lie in
`{url}`.

    dvc get {folder} {example}
    dvc import {folder} {example}
    dvc update {name}.dvc        # later, after this folder was exported again

"""


def write_dvc_project(
    home: Home, remote: Remote | None, outputs: Mapping[str, Manifest], folder: Path
) -> bool:
    """Write `.dvc` files by readable path into a git repository, and commit them.

    Args:
        home: The home that has the outputs, where there is no remote.
        remote: Where the outputs lie for everybody; None for this machine's store alone.
        outputs: The outputs by readable path; at least one.
        folder: A new or an empty folder, or one that this wrote before: then what it has of other
            names stays.

    Returns:
        Whether anything is new.

    Raises:
        ConfigError: The folder is of somebody else, or an output is not where DVC would look.
    """
    assert outputs, "an export names at least one output"
    _require_ours(folder)
    _require_there(home, remote, outputs)
    store = Path(os.path.realpath(home.store)) / ".dvc" / "cache"
    url = f"{remote.url}/store" if remote else str(store)
    if url != without_passwords(url):
        raise ConfigError(
            f"the remote {without_passwords(url)} has a password in its address, which would be "
            "committed: give it in the environment"
        )
    for path, manifest in outputs.items():
        # Of the name alone: where the pointer lies is where DVC puts the output.
        name = Path(path)
        text = pointer_text(name, manifest.digest, manifest.files)
        write_atomic(folder / pointer_of(name), text)
    write_atomic(folder / ".dvc" / "config", _settings(url))
    write_atomic(folder / ".dvc" / ".gitignore", "/config.local\n/tmp\n/cache\n")
    pointers = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.dvc"))
    names = [path.removesuffix(".dvc") for path in pointers if (folder / path).is_file()]
    write_atomic(folder / ".gitignore", "".join(f"/{name}\n" for name in names))
    example = next(iter(outputs))
    shown = {"url": url, "folder": os.path.realpath(folder), "name": Path(example).name}
    readme = _README.format(example=f"'{example}'" if " " in example else example, **shown)
    write_atomic(folder / "README.md", readme + "".join(f"- `{name}`\n" for name in names))
    ours = [f"{name}.dvc" for name in names]
    ours += [".dvc/config", ".dvc/.gitignore", ".gitignore", "README.md"]
    return commit_files(folder, ours, f"Export {', '.join(sorted(outputs)[:3])}")


def _settings(url: str) -> str:
    """Return DVC's settings of such a folder; its default remote is where the bytes are."""
    return (
        f"{_MARK}\n[core]\n    remote = sparring\n    analytics = False\n    check_update = False\n"
        f"['remote \"sparring\"']\n    url = {url}\n    verify = True\n"
    )


def _require_ours(folder: Path) -> None:
    """Refuse a folder with things in it that this did not write."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    settings = folder / ".dvc" / "config"
    if not settings.is_file() or not settings.read_text("utf-8").startswith(_MARK):
        raise ConfigError(
            f"{folder} is there already: name a new or an empty folder, or one that "
            "`sparring export --format dvc` wrote"
        )


def _require_there(home: Home, remote: Remote | None, outputs: Mapping[str, Manifest]) -> None:
    """Refuse what DVC would not find."""
    objects = cached_objects(home.store) if remote is None else {}
    for path, manifest in outputs.items():
        if remote is None:
            wanted = {manifest.digest, *(file.md5 for file in manifest.files)}
            if not wanted <= objects.keys():
                raise ConfigError(
                    f"{path} is not whole in DVC's cache here: set SPARRING_REMOTE to the remote "
                    "that has it"
                )
        elif read_manifest(remote, manifest.stage, manifest.key) is None:
            raise ConfigError(
                f"{path} is not on {without_passwords(remote.url)}: bring it there with "
                "`sparring push`"
            )
