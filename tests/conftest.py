"""Fixtures that tests of several areas share."""

import gc
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

from tests import guest_disks as real_disks
from tests import guest_image as guests
from tests import kinds, labs, transfers
from vmkeep.model.disk import ControllerKind, Disk
from vmkeep.model.job import DiskJob
from vmkeep.model.point import BackupKind
from vmkeep.model.site import Site
from vmkeep.model.vmref import VmRef
from vmkeep.repository import create_repository
from vmkeep.testing import servers

pytest.register_assert_rewrite("vmkeep.testing.blob_contract")
settings.register_profile("any load", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any load")  # no example fails because the machine has other things to do


def _build_vddk(root: Path, *flags: str) -> Path:
    (root / "lib64").mkdir()
    library = root / "lib64" / "libvixDiskLib.so.6.5.0"
    system = shutil.which("cc")
    compiler = [system] if system else [sys.executable, "-m", "ziglang", "cc"]
    flags = (*flags, "-shared", "-fPIC", "-O1", "-pthread", "-fvisibility=hidden", "-Wl,-Bsymbolic")
    source = Path(__file__).parent / "native" / "nineteen.c"
    subprocess.run([*compiler, *flags, "-o", str(library), str(source)], check=True)
    (root / "lib64" / "libvixDiskLib.so.6").symlink_to(library.name)
    return root


MEMORY = Path("/dev/shm")
"""A file system in memory."""
IN_MEMORY = tuple(
    f"tests/unit/{room}/" for room in ("catalog", "cli", "flows", "images", "maintenance", "repository", "web")
)
"""Folders whose tests make repositories and catalogs, and ask nothing of the disk below: see tests/README.md."""
FAILED = pytest.StashKey[bool]()
TOGETHER = ("tests/integration/airflow/running/", "tests/integration/airflow/", "tests/integration/peers/")
"""Folders whose tests stay in one process, the longest first. Each of the others' files may go to any process."""


def _together(nodeid: str) -> int:
    """Return the place of a test's folder among those that stay together, or the number of these."""
    return next((place for place, folder in enumerate(TOGETHER) if nodeid.startswith(folder)), len(TOGETHER))


class _FilesAndFolders(LoadFileScheduling):
    """Hands out tests to processes by file, and to one those that share an Airflow or wait for the same compiler."""

    def _split_scope(self, nodeid: str) -> str:
        return (*TOGETHER, super()._split_scope(nodeid))[_together(nodeid)]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return _FilesAndFolders(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Look for no garbage while modules are imported, because that was a fifth of their time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_modifyitems(items):
    """Begin with the longest, so that no process works at the end while the others have nothing to do."""
    items.sort(key=lambda item: _together(item.nodeid))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish():
    """Take the collected tests from the garbage collector, because it would look at all of them again and again."""
    gc.freeze()
    gc.set_threshold(20_000)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Escape in a report what is no text: processes that share the tests pass reports on, and could not pass that."""
    report = yield
    item.stash[FAILED] = report.failed or item.stash.get(FAILED, False)
    report.sections = [(title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections]
    return report


def pytest_terminal_summary(terminalreporter):
    """Tell how much of its budget each kind of tests has used."""
    ended = [report for reports in terminalreporter.stats.values() for report in reports if hasattr(report, "duration")]
    lines = kinds.report((report.nodeid, report.duration) for report in ended)
    if lines:
        terminalreporter.section("seconds of all tests of a kind, and its budget on two quiet cores")
        terminalreporter.write_line("\n".join(lines))


@pytest.fixture(scope="session", autouse=True)
def _interrupted_as_at_a_terminal():
    """Take Ctrl-C and a closed terminal, here and in programs started from here, also where our parent ignores them."""
    usual: dict[signal.Signals, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    ignored = [number for number in usual if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, usual[number])
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(scope="session", autouse=True)
def _no_configuration_of_the_user():
    """Read no configuration file of whoever runs the tests, in child processes neither."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VMKEEP_CONFIG", os.devnull)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_cache_of_the_user(tmp_path_factory):
    """Keep index segments where the tests end, in child processes too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VMKEEP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def nineteen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VDDK folder whose library has only the 19 oldest symbols and serves plain files; see native/nineteen.c."""
    return _build_vddk(tmp_path_factory.mktemp("vddk-19"))


@pytest.fixture(scope="session")
def querying(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with QueryAllocatedBlocks."""
    return _build_vddk(tmp_path_factory.mktemp("vddk-21"), "-DWITH_QUERY")


MIB = 1 << 20


def _in_memory(node: pytest.Item) -> bool:
    return node.nodeid.startswith(IN_MEMORY) and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 1024 * MIB


@pytest.fixture
def tmp_path(request, tmp_path_factory):
    """A folder of the test, in memory where nothing is asked of a disk. What a failed test leaves comes to the disk."""
    if not _in_memory(request.node):
        yield request.getfixturevalue("tmp_path")
        return
    with tempfile.TemporaryDirectory(prefix="vmkeep-test-", dir=MEMORY, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
        if request.node.stash.get(FAILED, False):
            shutil.move(folder, tmp_path_factory.mktemp("failed"))


@dataclass(frozen=True)
class Place:
    """A repository, a local disk and a library of 19 symbols: the least that a transfer's child process needs."""

    site: Site
    disk: Path
    content: bytes

    def job(self, **changes: Any) -> DiskJob:
        """Return a full copy of the disk."""
        described = Disk(
            key=2000, label="Hard disk 1", controller=ControllerKind.SCSI, controller_type="ParaVirtualSCSIController",
            bus=0, unit=0, capacity=len(self.content), backing="FlatVer2", file_name=str(self.disk),
        )  # fmt: skip
        fields: dict[str, Any] = {
            "run": "run-1", "vm": VmRef(moref="vm-1", name="web"), "snapshot": None, "disk": described,
            "kind": BackupKind.FULL, "reason": "first", "change_id": None, "extents": None, "parent_root": None,
            "transports": (), "piece_size": 256 << 10, "depth": 4,
        }  # fmt: skip
        return DiskJob(**(fields | changes))


@pytest.fixture
def place(tmp_path, nineteen):
    create_repository(str(tmp_path / "repository"))
    content = random.Random(7).randbytes(8 * MIB) + bytes(8 * MIB) + random.Random(8).randbytes(4 * MIB + 512)
    (tmp_path / "disk.raw").write_bytes(content)
    site = Site(repository=str(tmp_path / "repository"), vddk=str(nineteen))
    return Place(site=site, disk=tmp_path / "disk.raw", content=content)


@pytest.fixture
def in_children(tmp_path, monkeypatch):
    """Run a line of code in each child process before anything else, to change a constant there."""

    def run(line):
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "sitecustomize.py").write_text(line)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))

    return run


@pytest.fixture(scope="session")
def unused_lab(tmp_path_factory):
    """The folder of a lab that nobody has used, to start copies of it; see tests.labs."""
    folder = tmp_path_factory.mktemp("unused") / "lab"
    labs.make_unused(folder)
    return folder


@pytest.fixture(scope="session")
def transfer_server():
    """The process from which children of transfers are forked; see tests.transfers."""
    server = transfers.Server()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def guest_image():
    """A disk from which a real Linux boots, as a raw image that nobody may write to; see tests.guest_image."""
    return guests.guest_image()


@pytest.fixture(scope="session")
def guest_disks(tmp_path_factory):
    """Disks made by real LVM and file systems, to be read only; see tests.guest_disks."""
    return real_disks.GuestDisks(tmp_path_factory.mktemp("guests"))


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory):
    """A real S3 server; see vmkeep.testing.servers."""
    with servers.s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory):
    """Another S3 server, by other authors; see vmkeep.testing.servers."""
    with servers.moto_server(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="session")
def ssh_server(tmp_path_factory):
    """A real SSH server; see vmkeep.testing.servers."""
    with servers.ssh_server(tmp_path_factory.mktemp("ssh")) as server:
        yield server


@pytest.fixture
def ssh_home(ssh_server, monkeypatch):
    """Be the user who may log in there."""
    monkeypatch.setenv("HOME", str(ssh_server.home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return ssh_server.home
