"""A lab over real TLS, and what can stand between it and its client."""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.labs import copy_unused
from tests.patience import HANG
from vmkeep.model.site import VCenter
from vmkeep.vsphere.session import Session, open_session
from vmlab.api import vmodl
from vmlab.lab import LabOptions, LabServer
from vmlab.managed.properties import selection, updates
from vmlab.managed.properties.filter_specs import check_filter_spec
from vmlab.managed.properties.reading import declared
from vmlab.soap import load_or_make


def _only_declared(spec: Any) -> None:
    """Refuse a path that only the run-time type of a data object has: a stricter server than the lab may do so."""
    check_filter_spec(spec)
    for wanted in spec.propSet:
        for path in wanted.pathSet:
            if declared(wanted.type, path) is None:
                raise vmodl.query.InvalidProperty(name=path, msg=f"{wanted.type.__name__} declares no {path}")


@pytest.fixture(autouse=True)
def paths_of_declared_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here leans on the run-time types of data objects."""
    monkeypatch.setattr(selection, "check_filter_spec", _only_declared)
    monkeypatch.setattr(updates, "check_filter_spec", _only_declared)


@pytest.fixture(scope="module")
def lab(unused_lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """A simulated vCenter with the demo inventory; its fault plan is emptied before each test."""
    folder = tmp_path_factory.mktemp("lab")
    copy_unused(unused_lab, folder)
    server = LabServer(LabOptions(folder=folder))
    server.start()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def fresh_faults(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test inherits another's faults."""
    yield
    if "lab" in request.fixturenames:
        server = request.getfixturevalue("lab")
        server.site.faults.clear()
        server.site.faults.calls.clear()


@pytest.fixture
def vcenter(lab: LabServer) -> VCenter:
    """How to reach the lab, its certificate pinned."""
    return at(lab, lab.port)


def at(lab: LabServer, port: int, **changes: Any) -> VCenter:
    """The lab, seen through a port."""
    known = lab.describe()
    settings: dict[str, Any] = {"host": "127.0.0.1", "user": known["user"], "password": known["password"]}
    return VCenter(port=port, **(settings | {"thumbprint": lab.certificate.sha1} | changes))


@pytest.fixture
def session(vcenter: VCenter) -> Iterator[Session]:
    """A logged-in session with the lab."""
    with open_session(vcenter) as opened:
        yield opened


class Listener:
    """A port on loopback whose connections each get a thread; all are closed at the end."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self._listener = socket.create_server((address, 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._closing = False
        self._start(self._accept)

    def serve(self, client: socket.socket) -> None:
        """Talk to one client; the socket is closed afterwards."""
        raise NotImplementedError

    def keep(self, connection: socket.socket) -> socket.socket:
        """Have a socket shut by :meth:`drop`."""
        with self._guard:
            self._open.add(connection)
        return connection

    def drop(self) -> None:
        """Cut every connection."""
        with self._guard:
            connections = list(self._open)
            self._open.clear()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop listening, cut and forget everything."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()
        for thread in self._threads:
            thread.join(HANG)

    def _accept(self) -> None:
        while not self._closing:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with self.keep(client), contextlib.suppress(OSError):
            self.serve(client)

    def _start(self, target: Any, *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()


class Relay(Listener):
    """Passes bytes to ``target``; the target of new connections can be changed at any time."""

    def __init__(self, target: int, address: str = "127.0.0.1") -> None:
        self.target = target
        super().__init__(address)

    def serve(self, client: socket.socket) -> None:
        """Copy both ways until one side ends."""
        server = self.keep(socket.create_connection(("127.0.0.1", self.target)))
        with server, selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, (client, server))
            selector.register(server, selectors.EVENT_READ, (server, client))
            while True:
                for key, _ in selector.select():
                    source, target = key.data
                    data = source.recv(65536)
                    if not data:
                        return
                    target.sendall(data)


class Impostor(Listener):
    """A TLS server with a certificate of its own, which keeps everything that clients tell it."""

    def __init__(self, folder: Path) -> None:
        self.certificate = load_or_make(folder)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.certificate.certificate, self.certificate.key)
        self.contacts = 0
        self.heard = b""
        super().__init__()

    def serve(self, client: socket.socket) -> None:
        """Shake hands and listen."""
        client.settimeout(5)
        try:
            with self._context.wrap_socket(client, server_side=True) as tls:
                self.talk(tls)
        finally:
            self.contacts += 1

    def heard_in(self, contacts: int) -> bytes:
        """Wait for the end of so many conversations; return all that was said in them."""
        deadline = time.monotonic() + HANG
        while self.contacts < contacts and time.monotonic() < deadline:
            time.sleep(0.01)
        assert self.contacts >= contacts
        return self.heard

    def talk(self, tls: ssl.SSLSocket) -> None:
        """Only listen."""
        while data := tls.recv(65536):
            self.heard += data


class Trickler(Impostor):
    """Answers for ever, a byte at a time: no single wait is long."""

    def talk(self, tls: ssl.SSLSocket) -> None:
        """Never come to the end of a header."""
        tls.recv(65536)
        tls.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while True:
            tls.sendall(b".")
            time.sleep(0.05)


@pytest.fixture
def relay(lab: LabServer) -> Iterator[Relay]:
    """Something between client and lab."""
    made = Relay(lab.port)
    yield made
    made.close()


@pytest.fixture
def relay_at(lab: LabServer) -> Iterator[Any]:
    """Make relays on other loopback addresses."""
    made: list[Relay] = []

    def make(address: str) -> Relay:
        made.append(Relay(lab.port, address))
        return made[-1]

    yield make
    for relay in made:
        relay.close()


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[Impostor]:
    """A server that is not the lab."""
    made = Impostor(tmp_path)
    yield made
    made.close()


@pytest.fixture
def trickler(tmp_path: Path) -> Iterator[Trickler]:
    """A server that never finishes an answer."""
    made = Trickler(tmp_path)
    yield made
    made.close()


@pytest.fixture
def reach() -> Any:
    """Build a VCenter for the lab behind a port, with changes."""
    return at


@pytest.fixture
def listener() -> Iterator[Any]:
    """Make servers out of a function that talks to one client."""
    made: list[Listener] = []

    def make(talk: Any) -> Listener:
        class Talking(Listener):
            def serve(self, client: socket.socket) -> None:
                talk(client)

        made.append(Talking())
        return made[-1]

    yield make
    for server in made:
        server.close()
