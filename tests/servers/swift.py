"""A real S3 server for tests: Debian's OpenStack swift 2.30 with s3api, one replica, no root.

Four swift processes and a memcached, everything in one folder, on free ports of this machine.
`infra/install-test-servers.sh` installs the packages.
"""

from __future__ import annotations

import getpass
import json
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.processes.reaper import die_with_parent

PYTHON = "/usr/bin/python3"
KINDS = ("account", "container", "object", "proxy")
PROGRAMS = ("memcached", *(f"swift-{kind}-server" for kind in KINDS))
START_SECONDS = 60.0

_RINGS = """
import sys
from swift.common.ring import RingBuilder
folder, *pairs = sys.argv[1:]
for pair in pairs:
    kind, port = pair.split("=")
    builder = RingBuilder(1, 1, 0)
    builder.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port),
                     "replication_ip": "127.0.0.1", "replication_port": int(port),
                     "device": "disk", "weight": 1.0})
    builder.rebalance()
    builder.get_ring().save(f"{folder}/{kind}.ring.gz")
"""

_STORAGE = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
devices = {folder}
mount_check = false
fallocate_reserve = 0
disable_fallocate = true
log_level = WARNING
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""

_PROXY = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
log_level = WARNING
[pipeline:main]
pipeline = catch_errors ours gatekeeper cache listing_formats bulk s3api tempauth copy slo dlo \
versioned_writes symlink proxy-server
[filter:ours]
paste.filter_factory = swift_filters:factory
folder = {folder}
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
[filter:s3api]
use = egg:swift#s3api
s3_acl = {access_lists}
[filter:tempauth]
use = egg:swift#tempauth
user_test_writer = {secret} .admin
user_test_reader = {secret} .reseller_reader
user_other_stranger = {secret} .admin
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
allow_object_versioning = true
{plain}
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
"""

_PLAIN = ("catch_errors", "gatekeeper", "listing_formats", "bulk", "copy", "slo", "dlo", "symlink")


@dataclass
class SwiftServer:
    """A running server; `switch` changes how it behaves, `stop` and `start` take it down and up."""

    folder: Path
    ports: dict[str, int]
    secret_key: str
    access_key: str = "test:writer"
    reader_key: str = "test:reader"
    """May list and read everything, and write nothing."""
    stranger_key: str = "other:stranger"
    """May do nothing with the writer's buckets."""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def endpoint(self) -> str:
        """What AWS_ENDPOINT_URL has to be."""
        return f"http://127.0.0.1:{self.ports['proxy']}"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to reach it as the writer."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        }

    def client(self, access_key: str | None = None) -> Any:
        """Return a plain boto3 client, for what a test does behind our back."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=access_key or self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(retries={"mode": "standard", "max_attempts": 10}),
        )

    def bucket(self) -> str:
        """Make a bucket with a name of its own, and return the name."""
        name = f"bucket-{secrets.token_hex(4)}"
        self.client().create_bucket(Bucket=name)
        return name

    def switch(self, **values: float) -> None:
        """Set `fault_percent` or `delay` (seconds); what is not named goes off."""
        temporary = self.folder / f"switches-{secrets.token_hex(4)}"
        temporary.write_text(json.dumps(values))
        temporary.replace(self.folder / "switches.json")

    def requests(self) -> list[str]:
        """Return what was asked since it started: `METHOD path?query`."""
        log = self.folder / "requests.log"
        return log.read_text().splitlines() if log.exists() else []

    def start(self, *names: str) -> None:
        """Start the named servers, the proxy alone by default, and wait until they listen."""
        for name in names or ("proxy",):
            if name == "memcached":
                command = ["memcached", "-l", "127.0.0.1", "-p", str(self.ports[name]), "-m", "32"]
                command += ["-u", getpass.getuser()]
            else:
                server = f"/usr/bin/swift-{name}-server"
                command = [PYTHON, server, f"{self.folder}/{name}.conf", "-v"]
            with open(self.folder / f"{name}.log", "ab") as log:
                self.processes[name] = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(self.folder)},
                    preexec_fn=_die_with_parent,
                )
        deadline = time.monotonic() + START_SECONDS
        for name in names or ("proxy",):
            self._wait(name, deadline)

    def stop(self, *names: str) -> None:
        """Kill the named servers, the proxy alone by default: connections are refused then."""
        chosen = [self.processes.pop(name) for name in names or ("proxy",)]
        for process in chosen:
            process.kill()
        for process in chosen:
            process.wait()

    def _wait(self, name: str, deadline: float) -> None:
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.ports[name])) == 0:
                    return
            if self.processes[name].poll() is not None or time.monotonic() > deadline:
                log = (self.folder / f"{name}.log").read_text()[-2000:]
                raise RuntimeError(f"{name} did not come up:\n{log}")
            time.sleep(0.02)


def missing_programs() -> list[str]:
    """Return which of the needed programs are not installed."""
    return [name for name in PROGRAMS if not shutil.which(name, path="/usr/bin:/usr/local/bin")]


@contextmanager
def swift_server(folder: Path, *, access_lists: bool = False) -> Iterator[SwiftServer]:
    """Run a server that keeps everything in `folder` and ends with the block.

    With `access_lists` it tells who may see a bucket, and multipart uploads do not work: swift 2.30
    does not do both.
    """
    ports = dict(zip(("memcached", *KINDS), _free_ports(5), strict=True))
    server = SwiftServer(folder, ports, secrets.token_hex(8))
    values: dict[str, object] = {
        "user": getpass.getuser(),
        "folder": folder,
        "secret": server.secret_key,
    }
    values["access_lists"] = str(access_lists).lower()
    (folder / "disk").mkdir(parents=True)
    (folder / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = tests\n"
        "[storage-policy:0]\nname = one\ndefault = yes\n"
    )
    for kind in KINDS[:3]:
        text = _STORAGE.format(kind=kind, port=ports[kind], **values)
        (folder / f"{kind}.conf").write_text(text)
    plain = "".join(f"[filter:{name}]\nuse = egg:swift#{name}\n" for name in _PLAIN)
    (folder / "proxy.conf").write_text(
        _PROXY.format(
            port=ports["proxy"], memcached=ports["memcached"], plain=plain, s3_acl="true", **values
        )
    )
    # Beside this file lies one named as swift's own package, so its folder is no place to import.
    shutil.copy(Path(__file__).with_name("swift_filters.py"), folder)
    server.switch()
    pairs = [f"{kind}={ports[kind]}" for kind in KINDS[:3]]
    subprocess.run([PYTHON, "-c", _RINGS, str(folder), *pairs], check=True)
    try:
        server.start("memcached", *KINDS)
        yield server
    finally:
        server.stop(*server.processes)


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    with_ports = [socket.socket() for _ in range(count)]
    try:
        for each in with_ports:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in with_ports]
    finally:
        for each in with_ports:
            each.close()


def _die_with_parent() -> None:
    """Have the kernel end this child when the test process ends, however that is."""
    die_with_parent()
    os.setpgid(0, 0)
