"""What every test relies on: fixed seeds, no network, no telemetry, a state folder of its own.

A test that needs something of the machine is marked `real`, or uses one of `REAL_FIXTURES`. It
skips with a message where that is missing; with SPARRING_REQUIRE_REAL=1 such a skip is a failure,
and so is a file that skips itself while it is collected. Tests marked `slow` or `gpu` are not
touched by this: they are deselected, unless `-m` asks for them.
"""

from __future__ import annotations

import gc
import ipaddress
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REAL_FIXTURES = {"real_data", "real_model", "chromium", "object_store", "postgres"}
# Swift's own Python loads it, with modules that ours does not have.
collect_ignore = ["servers/swift_filters.py"]
_SCRATCH = tempfile.mkdtemp(prefix="sparring-tests-")

# Before any library reads them, and for child processes too.
os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "PREFECT_HOME": f"{_SCRATCH}/prefect",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
    "MPLBACKEND": "agg",
    "TOKENIZERS_PARALLELISM": "false",
}
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
for _name in (
    "PREFECT_API_URL", "PREFECT_PROFILE", "MLFLOW_TRACKING_URI", "MLFLOW_BACKEND_STORE_URI",
    "SPARRING_HOME",
):  # fmt: skip
    os.environ.pop(_name, None)
# A process of pytest-xdist is forked from one that has imported Prefect with its own settings.
if "prefect.context" in sys.modules:
    sys.modules["prefect.context"].refresh_global_settings_context()

# Nobody pulls the plug of this machine, and what waits for its disk is a tenth of a run. A
# descriptor that is none still raises. What is killed starts cold, and syncs.
os.fsync = os.fdatasync = os.fstat  # type: ignore[assignment]

FIRST = (
    "tests/flows/cli/comparing/test_comparison.py",
    "tests/flows/rehearsal/test_shipped_configs.py",
    "tests/flows/test_exo.py",
)
"""Files to begin with: one makes the run that most files look at, and two long ones need it not."""


class NetworkBlockedError(RuntimeError):
    """A test reached for an address outside this machine."""


def _is_here(host: Any) -> bool:
    """Whether a host, as `socket` takes it, is this machine."""
    if isinstance(host, bytes):
        host = host.decode()
    if host in (None, "", "localhost", socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(str(host).split("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _block_network() -> Iterator[None]:
    """Refuse connections and look-ups beyond this machine while the iterator is suspended."""
    real = (socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo)

    def check(host: Any) -> None:
        if not _is_here(host):
            raise NetworkBlockedError(f"a test must not reach {host!r}: use this machine or a fake")

    def connect(self: socket.socket, address: Any) -> None:
        check(address[0] if self.family in (socket.AF_INET, socket.AF_INET6) else None)
        return real[0](self, address)

    def connect_ex(self: socket.socket, address: Any) -> int:
        check(address[0] if self.family in (socket.AF_INET, socket.AF_INET6) else None)
        return real[1](self, address)

    def getaddrinfo(host: Any, *rest: Any, **named: Any) -> Any:
        check(host)
        return real[2](host, *rest, **named)

    socket.socket.connect, socket.socket.connect_ex = connect, connect_ex  # type: ignore[method-assign, assignment]
    socket.getaddrinfo = getaddrinfo
    yield
    socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo = real  # type: ignore[method-assign]


_network = _block_network()


def pytest_configure(config: pytest.Config) -> None:
    """Close the network, and make hypothesis give the same examples every time."""
    next(_network)
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # Started behind an `&`, children would not hear the Ctrl-C that tests send them.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    from hypothesis import settings

    settings.register_profile("sparring", derandomize=True, deadline=None, print_blob=True)
    settings.load_profile("sparring")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(specs: list[Any]) -> None:
    """Fork the processes that tests are spread over from one that has imported the libraries."""
    from tests.flows.warm_start import SHARED, WARM

    for spec in specs:
        spec.python = WARM.python()
    os.environ[SHARED] = WARM.address()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Open the network again, and remove the scratch folder."""
    next(_network, None)
    shutil.rmtree(_SCRATCH, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `real` what uses a fixture of the machine, and put the long files first."""
    for item in items:
        if REAL_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("real")
    files = {item: item.nodeid.partition("::")[0] for item in items}
    items.sort(key=lambda item: FIRST.index(files[item]) if files[item] in FIRST else len(FIRST))


def pytest_collection_finish() -> None:
    """Spare the garbage collector the tests and what they import: it is there until the end."""
    gc.collect()
    gc.freeze()


def _must_be_real() -> bool:
    return os.environ.get("SPARRING_REQUIRE_REAL") == "1"


def _fail(report: Any) -> None:
    """Turn a skipped report into a failed one that keeps the reason."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"SPARRING_REQUIRE_REAL=1 and this was skipped. {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Fail the skip of a test that needs the real thing, where the real thing is required."""
    report = yield
    expected = hasattr(report, "wasxfail")
    if report.skipped and not expected and _must_be_real() and item.get_closest_marker("real"):
        _fail(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Any:
    """Fail a file that skips itself whole, where the real thing is required."""
    report = yield
    if report.skipped and _must_be_real():
        _fail(report)
    return report


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a GPU test where there is none."""
    if item.get_closest_marker("gpu"):
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("needs an NVIDIA GPU")


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """Start every test from the same random state, of those generators that are loaded."""
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    torch = sys.modules.get("torch")
    # A module that is still being imported by somebody else has no `manual_seed` yet.
    if torch and hasattr(torch, "manual_seed"):
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets, from SPARRING_DATA."""
    folder = os.environ.get("SPARRING_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip(f"SPARRING_DATA must name the folder of real data sets; it is {folder!r}")
    return Path(folder)


@pytest.fixture(scope="session")
def real_model() -> Path:
    """The folder of SmolLM2-135M-Instruct, which `make model` leaves in the checkout."""
    folder = Path(__file__).parents[1] / "models" / "smollm2-135m-instruct"
    if not (folder / "ORIGIN.md").is_file():
        pytest.skip(f"needs {folder}: make model fetches it")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a headless-capable Chromium."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("needs Chromium: infra/install-test-servers.sh installs it")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real Postgres, a `tests.servers.postgres.PostgresServer`."""
    from tests.servers.postgres import missing_programs, postgres_server

    if missing := missing_programs():
        pytest.skip(f"needs {', '.join(missing)}: infra/install-test-servers.sh installs them")
    with postgres_server() as server:
        yield server


def common_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return the folder that the processes that tests are spread over have in common."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Any:
    """Empty databases to begin with, a `tests.databases.Databases`."""
    from tests.databases import Databases

    return Databases(common_folder(tmp_path_factory, worker_id) / "databases")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A state folder for one test, named by SPARRING_HOME; a `tasks.storage.home.Home`."""
    from tasks.storage.home import current_home

    monkeypatch.setenv("SPARRING_HOME", str(tmp_path / "home"))
    return current_home().ensure()


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real S3 server, a `tests.servers.swift.SwiftServer`; take `s3` for its environment."""
    from tests.servers.swift import missing_programs, swift_server

    if missing := missing_programs():
        pytest.skip(f"needs {', '.join(missing)}: infra/install-test-servers.sh installs them")
    with swift_server(tmp_path_factory.mktemp("store") / "swift") as server:
        yield server


@pytest.fixture
def s3(object_store: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The object store with its address and credentials set."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name, value in object_store.environment.items():
        monkeypatch.setenv(name, value)
    yield object_store
    object_store.switch()
