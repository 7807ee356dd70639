"""The services of docker-compose.yaml as plain processes, because no Docker engine runs where the tests do.

All share a network of their own, in which the names of the services are addresses, and a view of the file system in
which the volumes are where containers see them: so each process gets the very command and environment of its service.
Needs root, or a user who may make namespaces.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demo.processes import Component, stop_all
from tests.composed import ROOT, command_of, composed, secrets_of
from tests.patience import HANG

POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
"""Debian's programs: the image's entrypoint does what :meth:`Site.start_postgres` does with them."""
_TESTED = Path(sys.executable).parent
"""Has the S3 server of the image ``s3``; a test compares the versions."""
_CLONE_NEWNET = 0x40000000
_ENTER = 'hostname "$1"; cd "$2"; shift 2; exec "$@"'


class Site:
    """One installation: a folder that stands for the hosts' disks, and the processes of its services."""

    def __init__(self, folder: Path, environment: Path, variables: Mapping[str, str]) -> None:
        self.folder = folder
        self.programs = environment / "bin"
        self.variables = dict(variables)
        whole = composed(variables)
        self.services: dict[str, Any] = whole["services"]
        self.secrets = secrets_of(whole, variables)
        self.started: list[Component] = []
        self._database = Path(tempfile.mkdtemp(prefix="vmkeep-postgres-"))  # its server is another user
        names = [*self.services, "proxy-b"]
        self.addresses = {name: f"127.0.0.{number}" for number, name in enumerate(names, start=2)}
        self._space = self._make_space()

    def _make_space(self) -> subprocess.Popen[bytes]:
        """Start the process that holds network and mounts; ``/opt`` and ``/srv`` are empty but for the volumes."""
        volumes = {name: self.folder / name for name in ("airflow", "vddk", "vmkeep", "lab")}
        for path in (*volumes.values(), self.folder / "data"):
            path.mkdir(exist_ok=True)
        held = self.folder / "secrets"
        held.mkdir(exist_ok=True)
        for name, secret in self.secrets.items():
            (held / name).write_text(secret)
        hosts = self.folder / "hosts"
        hosts.write_text("".join(f"{at} {name}\n" for name, at in {"localhost": "127.0.0.1", **self.addresses}.items()))
        script = f"""
            ip link set lo up; mount --make-rprivate /
            mount -t tmpfs none /opt; mount -t tmpfs none /srv; mount --bind {hosts} /etc/hosts
            mount -t tmpfs none /run; mkdir /run/secrets; mount --bind {held} /run/secrets
            mkdir /opt/airflow /opt/vddk /srv/vmkeep /srv/lab /srv/policies
            mount --bind {volumes["airflow"]} /opt/airflow
            mount --bind {volumes["vddk"]} /opt/vddk; mount --bind {volumes["vmkeep"]} /srv/vmkeep
            mount --bind {volumes["lab"]} /srv/lab; mount --bind {ROOT}/include/policies /srv/policies
            echo ready; exec sleep infinity
        """
        root = [] if os.geteuid() == 0 else ["--user", "--map-current-user", "--keep-caps"]
        space = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", *root, "--net", "--mount", "sh", "-euc", script],
            stdout=subprocess.PIPE,
        )
        assert space.stdout is not None
        assert space.stdout.readline() == b"ready\n", "no namespaces can be made here"
        return space

    def environment(self, name: str) -> dict[str, str]:
        """Return a service's environment: the file's, what its image sets, and the host's name."""
        service = self.services[name]
        image = {
            "AIRFLOW_HOME": "/opt/airflow",
            "PATH": f"{self.programs}:{_TESTED}:{os.environ['PATH']}",
            "HOME": "/opt/airflow",
        }
        return {**image, "HOSTNAME": service.get("hostname", name), "LANG": "C.UTF-8", **service.get("environment", {})}

    def inside(self, name: str, command: Sequence[str]) -> list[str]:
        """Return the command that runs another one as a service."""
        space = ["nsenter", f"--target={self._space.pid}", "--net", "--mount"]
        if os.geteuid() != 0:
            space.append("--user")
        host = self.services[name].get("hostname", name)
        where = self.folder / "data" / name
        where.mkdir(exist_ok=True)
        return [*space, "unshare", "--uts", "sh", "-euc", _ENTER, "enter", host, str(where), *command]

    def run(self, name: str, *command: str, **variables: str) -> str:
        """Run a command as ``docker compose run`` would, and return what it says; without one, the service's own."""
        done = subprocess.run(
            self.inside(name, command_of(self.services[name], command)),
            env=self.environment(name) | variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False, timeout=HANG,
        )  # fmt: skip
        assert done.returncode == 0, f"{name} ended with {done.returncode}: {done.stdout[-4000:]}"
        return done.stdout

    def start(self, name: str, *, command: Sequence[str] | None = None, **variables: str) -> Component:
        """Start a service; returns at once."""
        component = Component(
            name, self.inside(name, command or command_of(self.services[name])),
            env=self.environment(name) | variables, log=self.folder / f"{name}.log",
        )  # fmt: skip
        component.start()
        self.started.append(component)
        return component

    def start_postgres(self) -> None:
        """Make the cluster as the image does, with the service's user, password and database, and start it."""
        given = self.services["postgres"]["environment"]
        become: list[str] = []
        data, secret = self._database / "data", self._database / "password"
        password = self.secrets[given["POSTGRES_PASSWORD_FILE"].removeprefix("/run/secrets/")]
        secret.write_text(password)
        if os.geteuid() == 0:
            become = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
            subprocess.run(["chown", "-R", "postgres", self._database], check=True)
        user, programs = given["POSTGRES_USER"], POSTGRES[-1]
        made = [*become, programs / "initdb", "-D", data, "-U", user, "-A", "scram-sha-256", f"--pwfile={secret}"]
        subprocess.run([*made, "-E", "UTF8", "--no-sync"], check=True, stdout=subprocess.DEVNULL, cwd="/")
        server = [*become, str(programs / "postgres"), "-D", str(data), "-k", str(data), "-c", "listen_addresses=*"]
        self.start("postgres", command=server)
        at = ("--host=postgres", f"--username={user}")
        self._until("postgres", lambda: self._succeeds("postgres", [str(programs / "pg_isready"), *at]))
        create = [str(programs / "createdb"), *at, given["POSTGRES_DB"]]
        self.run("postgres", *create, PGPASSWORD=password)

    def wait_healthy(self, *names: str) -> None:
        """Return once the health checks of these services succeed."""
        for name in names:
            kind, *test = self.services[name]["healthcheck"]["test"]
            command = ["sh", "-c", *test] if kind == "CMD-SHELL" else test
            self._until(name, lambda name=name, command=command: self._succeeds(name, command))

    def _until(self, name: str, ready: Any) -> None:
        end = time.monotonic() + HANG
        while not ready():
            for component in self.started:
                component.check()
            assert time.monotonic() < end, f"{name} is not healthy: {(self.folder / f'{name}.log').read_text()[-3000:]}"
            time.sleep(0.3)

    def _succeeds(self, name: str, command: Sequence[str]) -> bool:
        done = subprocess.run(
            self.inside(name, command), env=self.environment(name), check=False, capture_output=True,
            stdin=subprocess.DEVNULL, timeout=HANG,
        )  # fmt: skip
        return done.returncode == 0

    @contextmanager
    def network(self) -> Iterator[None]:
        """Let this thread's new sockets be in the services' network."""
        libc = ctypes.CDLL(None, use_errno=True)
        with Path("/proc/thread-self/ns/net").open() as own, Path(f"/proc/{self._space.pid}/ns/net").open() as theirs:
            assert libc.setns(theirs.fileno(), _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                libc.setns(own.fileno(), _CLONE_NEWNET)

    def close(self) -> None:
        """End everything."""
        stop_all(self.started)
        self._space.kill()
        self._space.communicate()
        shutil.rmtree(self._database, ignore_errors=True)


PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
"""Debian's own, with the pip that comes with it."""
