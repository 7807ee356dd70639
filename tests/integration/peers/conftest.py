"""govmomi, built from Debian's sources: its client for our lab, its simulator for our engine.

An independent implementation of vSphere's API, with type tables of its own: it finds what a lab and an engine made of
the same tables agree on and get wrong together. The binaries are kept in ``var/peers`` under a hash of their sources.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.labs import small_lab
from tests.patience import HANG
from vmkeep.model.site import VCenter
from vmkeep.vsphere.session import Session, open_session
from vmlab.testing import Lab

ROOT = Path(__file__).parents[3]
SOURCES = ROOT / "tests" / "peers"
KEPT = ROOT / "var" / "peers"
GOCODE = Path("/usr/share/gocode")
GOVMOMI = GOCODE / "src" / "github.com" / "vmware" / "govmomi"
PROGRAMS = ("govclient", "vcsim")


def _build() -> Path:
    """Return the folder of the binaries; nothing is downloaded."""
    go = shutil.which("go")
    if go is None or not GOVMOMI.is_dir():
        pytest.fail(
            "the peers cannot be built: install the Debian packages golang-go and golang-github-vmware-govmomi-dev "
            "(apt-get install golang-go golang-github-vmware-govmomi-dev)",
            pytrace=False,
        )
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes may come here at once; one builds
        folder = KEPT / _fingerprint(go)
        if not folder.is_dir():
            for old in (old for old in KEPT.iterdir() if old.is_dir() and old.name != "cache"):
                shutil.rmtree(old)
            making = Path(f"{folder}.new")
            making.mkdir(exist_ok=True)
            _compile(go, making)
            making.rename(folder)
    return folder


def _compile(go: str, folder: Path) -> None:
    """Build the programs in a third less processor time than usual.

    The standard library is there in compiled form, but only with cgo, which needs no C compiler here. And govmomi's
    code is not optimised, because the tests run it for milliseconds.
    """
    settings = {
        "GO111MODULE": "off", "GOPATH": str(GOCODE), "GOFLAGS": "", "GOPROXY": "off", "CGO_ENABLED": "1",
        "GOCACHE": str(KEPT / "cache"), "HOME": str(KEPT), "PATH": os.environ["PATH"],
    }  # fmt: skip
    built = subprocess.run(
        [
            go, "build", "-ldflags=-s -w", "-gcflags=github.com/vmware/...=-N -l", "-o", f"{folder}/",
            *(f"./{program}" for program in PROGRAMS),
        ],
        cwd=SOURCES, env=settings, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if built.returncode:
        pytest.fail(f"the peers do not build with {GOVMOMI}:\n{built.stderr}", pytrace=False)


def _fingerprint(go: str) -> str:
    digest = hashlib.sha256(subprocess.run([go, "version"], capture_output=True, check=True).stdout)
    digest.update(str((GOVMOMI / "client.go").stat().st_mtime_ns).encode())
    for source in sorted(source for program in PROGRAMS for source in (SOURCES / program).glob("*.go")):
        digest.update(str(source.relative_to(SOURCES)).encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:16]


@pytest.fixture(scope="session")
def programs() -> Path:
    """The folder that holds `govclient` and `vcsim`."""
    return _build()


class PeerError(Exception):
    """The peer's client failed; `fault` is the type of vSphere's fault, if there was one."""

    def __init__(self, message: str, fault: str) -> None:
        super().__init__(message)
        self.fault = fault


@dataclass(frozen=True)
class Govclient:
    """govmomi's client, one process for each call: `client("vm.info", "app01")`."""

    program: Path
    url: str
    user: str
    password: str
    thumbprint: str

    def __call__(self, *verb: str, **changed: str) -> Any:
        """Return what a verb printed. Raises PeerError."""
        used = {"user": self.user, "password": self.password, "thumbprint": self.thumbprint} | changed
        flags = [part for name, value in used.items() for part in (f"-{name}", value)]
        ended = subprocess.run(
            [self.program, *flags, self.url, *verb], capture_output=True, text=True, timeout=HANG, check=False
        )
        assert ended.stdout, ended.stderr
        answer = json.loads(ended.stdout)
        if ended.returncode:
            raise PeerError(answer["error"], answer["fault"])
        return answer


@pytest.fixture(scope="module")
def lab(unused_lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A small lab in its own process."""
    with small_lab(unused_lab, tmp_path_factory.mktemp("lab")) as started:
        yield started


@pytest.fixture
def client(programs: Path, lab: Lab) -> Govclient:
    """govmomi's client, logged in to our lab for each call."""
    return Govclient(programs / "govclient", lab.url, lab.user, lab.password, lab.thumbprint)


@pytest.fixture
def peer_error(client: Govclient) -> Any:
    """Call a verb that has to fail; returns its PeerError."""

    def failing(*verb: str, **changed: str) -> PeerError:
        with pytest.raises(PeerError) as caught:
            client(*verb, **changed)
        return caught.value

    return failing


@dataclass(frozen=True)
class Vcsim:
    """A running simulator: how to reach it, and which VMs it has, by name."""

    vcenter: VCenter
    sha256: str
    guest: str
    """The one VM that has a guest with an address."""
    guest_ip: str
    machines: dict[str, dict[str, str]]

    @property
    def other(self) -> str:
        """A VM without a guest."""
        return next(name for name in self.machines if name != self.guest)


@contextlib.contextmanager
def _running(programs: Path, folder: Path, *arguments: str) -> Iterator[Vcsim]:
    with (folder / "vcsim.log").open("w") as log:
        process = subprocess.Popen(
            [programs / "vcsim", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env={"TMPDIR": str(folder)},
        )  # fmt: skip
        with process:  # closes its standard input, which ends it, and waits
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, (folder / "vcsim.log").read_text()
            known = json.loads(line)
            vcenter = VCenter(
                host=known["host"], port=int(known["port"]), user=known["user"], password=known["password"],
                thumbprint=known["sha1"],
            )  # fmt: skip
            machines = {machine["name"]: machine for machine in known["machines"]}
            yield Vcsim(vcenter, known["sha256"], known["guest"], known["guest_ip"], machines)


@pytest.fixture(scope="module", params=["vpx", "esx"])
def vcsim(request: pytest.FixtureRequest, programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vcsim]:
    """A simulated vCenter, then a simulated ESXi host."""
    with _running(programs, tmp_path_factory.mktemp("vcsim"), "-kind", request.param) as started:
        yield started


@pytest.fixture
def two_datacenters(programs: Path, tmp_path: Path) -> Iterator[Vcsim]:
    """A simulated vCenter with two datacenters."""
    with _running(programs, tmp_path, "-dc", "2") as started:
        yield started


@pytest.fixture
def with_vapps(programs: Path, tmp_path: Path) -> Iterator[Vcsim]:
    """A simulated vCenter, some of whose VMs are in a vApp."""
    with _running(programs, tmp_path, "-app", "1") as started:
        yield started


@pytest.fixture
def session(vcsim: Vcsim) -> Iterator[Session]:
    """Our session with the simulator."""
    with open_session(vcsim.vcenter) as opened:
        yield opened
