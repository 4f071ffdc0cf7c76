"""How fast a checkpoint reaches the object store, against boto3 alone; and what small outputs cost.

    python benchmarks/remote_push.py [--megabytes 1024] [--rounds 3]

Starts a real S3 server (tests/servers/swift.py) on this machine. The two ways take turns, each to
new names; medians count. Ours reads the file once, checks its MD5 by the way, sends an MD5 with
each part and asks for the size at the end.
"""

from __future__ import annotations

import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.harness import timed
from tasks.storage.digests import digest_tree
from tasks.tracking.remote.opening import open_remote
from tasks.tracking.remote.s3_transfer import PART_BYTES
from tasks.tracking.store.dvc_store import DvcStore
from tests.servers.swift import SwiftServer, swift_server

SMALL_ROUNDS = 10


def main(megabytes: int = 1024, rounds: int = 3) -> None:
    """Measure how fast a checkpoint and small outputs reach an object store, and print it."""
    with tempfile.TemporaryDirectory() as name, swift_server(Path(name) / "swift") as server:
        os.environ.update(server.environment)
        big(Path(name), server, megabytes, rounds)
        small(Path(name), server)


def big(folder: Path, server: SwiftServer, megabytes: int, rounds: int) -> None:
    """Push a big file by boto3 and by us, in turns, and print medians and their ratio."""
    from boto3.s3.transfer import TransferConfig

    client = server.client()
    settings = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES)
    taken: dict[str, list[float]] = {"boto3": [], "ours": []}
    for turn in range(rounds):
        bucket, store = server.bucket(), DvcStore(folder / f"store-{turn}")
        path = store.root / "train" / "key" / "model.safetensors"
        path.parent.mkdir(parents=True)
        with open(path, "wb") as out:
            for _ in range(megabytes):
                out.write(os.urandom(1 << 20))
        digests = digest_tree(path.parent)
        with store.writing():
            digest = store.add(path.parent, digests)
        ways = {
            "boto3": partial(client.upload_file, str(path), bucket, "plain", Config=settings),
            "ours": partial(store.push, digests, digest, f"s3://{bucket}"),
        }
        # Which comes first takes turns too: the first finds an emptier disk cache.
        for way in list(ways) if turn % 2 == 0 else reversed(ways):
            taken[way].append(timed(ways[way]))
            print(f"round {turn + 1}: {way} {taken[way][-1]:.2f} s", flush=True)
        again = timed(ways["ours"])
        print(f"round {turn + 1}: ours, unchanged {again:.3f} s", flush=True)
        path.unlink()
    ratio = median(taken["boto3"]) / median(taken["ours"])
    for way, seconds in taken.items():
        print(f"{way}: median {median(seconds):.2f} s, {megabytes / median(seconds):.0f} MB/s")
    print(f"{megabytes} MB: ours at {100 * ratio:.0f} % of boto3's speed (at least 70 wanted)")


def small(folder: Path, server: SwiftServer) -> None:
    """Print what a stage with small outputs does with the remote, step by step."""
    url = f"s3://{server.bucket()}"
    remote = open_remote(url)
    assert remote is not None
    store, taken = DvcStore(folder / "small"), []
    for turn in range(SMALL_ROUNDS):
        output = store.root / "train" / f"key-{turn}"
        output.mkdir(parents=True)
        for number in range(4):
            (output / f"file-{number}.json").write_text(f"{turn} {number}" * 500)
        digests = digest_tree(output)
        with store.writing():
            digest = store.add(output, digests)
        claim = partial(remote.put_if_absent, data=b"{}")
        taken.append(
            {
                "lease": timed(partial(claim, f"leases/{turn}/000001.json")),
                "push": timed(partial(store.push, digests, digest, url)),
                "manifest": timed(partial(claim, f"manifests/{turn}.json")),
                "verify": timed(partial(store.verify_remote, digests, url)),
            }
        )
    steps = {step: median(turn[step] for turn in taken) for step in taken[0]}
    told = ", ".join(f"{step} {1000 * seconds:.0f} ms" for step, seconds in steps.items())
    needed = sum(seconds for step, seconds in steps.items() if step != "verify")
    print(f"small output: {told}; without verify {needed:.2f} s (at most 1 s wanted)")


if __name__ == "__main__":
    typer.run(main)
