"""Homes with finished runs in them, and what must hold after housekeeping went over one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.stages.flow_run import open_run
from tasks.stages.manifest import damaged_files, list_manifests
from tasks.stages.retention.candidates import find_candidates
from tasks.stages.retention.roots import Policy
from tasks.stages.retention.sweep import Sweep, carry_out
from tasks.storage.digests import digest_tree
from tasks.storage.home import Home
from tasks.storage.trees import walk_tree
from tasks.tracking.remote.opening import open_remote
from tasks.tracking.store.cache_index import cached_objects, pointers, referenced

NOW = Policy(keep_runs=0, trash_days=0.0, grace_seconds=-5.0)
"""Everything that no root needs goes at once, past the trash."""


class Silent:
    """Stands in for the thread that tells MLflow, which takes seconds to load."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def start(self) -> None:
        pass

    def close(self, *_: Any, **__: Any) -> bool:
        return True


def run_flow(toy: Any, home: Home, tmp_path: Path, text: str, flow: str = "toy") -> str:
    """Run the toy flow on another source, under a name, and return the run's id."""
    toy.source.write_text(text)
    with open_run(flow, config={}, config_text="", home=home, mlruns=tmp_path / "mlruns") as run:
        toy.flow()
    return run.run_id


def sweep(home: Home, policy: Policy = NOW, *, dry_run: bool = False) -> Sweep:
    candidates, held = find_candidates(home, open_remote(), policy)
    done = carry_out(candidates, dry_run=dry_run)
    done.held += held
    return done


def whole(home: Home) -> set[str]:
    """Keys of the outputs whose files are all there with the right content."""
    return {one.key for one in list_manifests(home) if not damaged_files(home, one, verify=True)}


def check_consistent(home: Home) -> None:
    """No output is there in part; the cache has what its pointers name, and nothing else."""
    for one in list_manifests(home):
        folder = one.folder(home)
        assert not folder.exists() or not damaged_files(home, one, verify=True), folder
    left = list(pointers(home.store))
    assert all(path.with_suffix("").is_dir() for path in left)
    assert set(cached_objects(home.store)) == referenced(home.store, left)


def tree(home: Home) -> dict[str, Any]:
    files, folders = walk_tree(home.root)
    return {"folders": folders, **{one.path: one for one in digest_tree(home.root)}} | {
        "files": files
    }


def made_by(home: Home, run: str) -> set[str]:
    return {one.key for one in list_manifests(home) if one.provenance["run"] == run}
