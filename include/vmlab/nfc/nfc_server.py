"""The NFC service: one loopback TCP connection per open disk, whose life is the session's life.

It authorises, counts and hands out faults; disk data never passes through it. A client
that dies closes its connection and thereby frees its session. The ``Authority`` decides
which VM may be opened how.
"""

import contextlib
import logging
import socket
import threading
from dataclasses import dataclass

from vmlab.disks import DiskError, DiskStore
from vmlab.nfc import wire
from vmlab.nfc.grants import Authority, DiskGrant, NfcError
from vmlab.nfc.nfc_faults import FaultBoard, NfcFault

log = logging.getLogger(__name__)

UNKNOWN_ERROR = 1
OUT_OF_MEMORY = 2
FILE_NOT_FOUND = 4
NO_ACCESS = 13
_OVER_NFC = ("nbdssl", "nbd")
_KNOWN_TRANSPORTS = (*_OVER_NFC, "san", "hotadd")


@dataclass(frozen=True, slots=True, kw_only=True)
class NfcSession:
    """A disk that a client holds open."""

    host: str
    ds_path: str
    read_only: bool
    transport: str

    @property
    def takes_memory(self) -> bool:
        """Whether the host serves the disk over the network, from the memory that its NFC sessions share."""
        return self.transport in _OVER_NFC


class _Client:
    """A connection, its session once it has opened a disk, and the lock for sending messages."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.session: NfcSession | None = None
        self._sending = threading.Lock()

    def send(self, fields: dict[str, str | None]) -> None:
        with self._sending:
            self.connection.sendall(wire.encode(fields))


class NfcServer:
    """Serves opens on ``127.0.0.1``. Call ``start`` and ``stop`` once each; the rest from any thread."""

    def __init__(self, store: DiskStore, authority: Authority, port: int = 0) -> None:
        self._store = store
        self._authority = authority
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._clients: set[_Client] = set()
        self._most: dict[str, int] = {}
        self._refused = 0
        self._faults = FaultBoard()
        self._latency = 0.0
        self._stopping = False
        self._thread = threading.Thread(target=self._accept, name="nfc-accept", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End every session and stop answering."""
        self._stopping = True
        self._faults.clear()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop_sessions()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def sessions(self) -> list[NfcSession]:
        """Return the disks that are open now."""
        with self._lock:
            return [client.session for client in self._clients if client.session]

    def most_sessions(self) -> tuple[dict[str, int], int]:
        """Return the most disks that were open at once since the start, by host, and how often a limit refused one."""
        with self._lock:
            return dict(self._most), self._refused

    def drop_sessions(self, disk: str = "") -> None:
        """Cut the connections of the disks whose path contains ``disk``: their handles lose the host (14011)."""
        with self._lock:
            doomed = [c for c in self._clients if disk in (c.session.ds_path if c.session else "")]
        for client in doomed:
            with contextlib.suppress(OSError):
                client.connection.shutdown(socket.SHUT_RDWR)

    def inject(self, fault: NfcFault) -> None:
        """Plant a fault for the handles open now and later."""
        number = self._faults.add(fault)
        if fault.is_of_io:
            self._push(_fault_message(number, fault), only=fault.disk)

    def clear_faults(self) -> None:
        """Take all faults and the added latency away."""
        self._faults.clear()
        self._latency = 0.0
        self._push({"push": "clear"})

    def set_latency(self, seconds: float) -> None:
        """Delay each request of handles opened from now on."""
        self._latency = seconds

    def _push(self, message: dict[str, str | None], only: str = "") -> None:
        with self._lock:
            clients = [c for c in self._clients if c.session and only in c.session.ds_path]
        for client in clients:
            with contextlib.suppress(OSError):
                client.send(message)

    def _accept(self) -> None:
        while not self._stopping:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            client = _Client(connection)
            with self._lock:
                self._clients.add(client)
            threading.Thread(target=self._serve, args=(client,), name="nfc-client", daemon=True).start()

    def _serve(self, client: _Client) -> None:
        try:
            while (request := wire.receive(client.connection)) is not None:
                client.send(self._answer(client, request))
        except (OSError, ValueError, wire.WireError) as error:
            if not self._stopping:
                log.debug("nfc connection ended: %s", error)
        finally:
            with self._lock:
                self._clients.discard(client)
            client.connection.close()

    def _answer(self, client: _Client, request: dict[str, str]) -> dict[str, str | None]:
        operation = request.get("op")
        if operation == "open":
            return self._open(client, request)
        if operation == "fire":
            code, over = self._faults.fire(int(request.get("fault", "0")))
            return {"status": str(code), "over": str(int(over))}
        if operation in {"connect", "prepare", "end"}:
            return self._call(operation, request)
        raise wire.WireError(f"unknown operation {operation!r}")

    def _open(self, client: _Client, request: dict[str, str]) -> dict[str, str | None]:
        try:
            self._check_thumbprint(request)
            grant = self._authorise(request)
            file = self._store.path(grant.ds_path)
            if not file.is_file():
                raise NfcError(FILE_NOT_FOUND, f"{grant.ds_path} does not exist")
            if code := self._faults.at_call("open", grant.ds_path):
                raise NfcError(code, f"{grant.ds_path}: planted fault")
            transport = _transport(request.get("transports"), grant)
            _check_writing(grant, transport)
            self._admit(client, grant, transport)
        except (NfcError, DiskError) as error:
            log.info("open of %s refused: %s", request.get("path"), error)
            return {"status": str(error.code), "message": str(error)}
        except Exception:
            log.exception("open of %s failed", request.get("path"))
            return {"status": str(UNKNOWN_ERROR), "message": "internal error of the lab"}
        faults = self._faults.matching(grant.ds_path)
        for number, fault in faults.items():
            client.send(_fault_message(number, fault))
        latency = grant.latency_seconds + self._latency
        return {
            "status": "0",
            "file": str(file),
            "read_only": str(int(grant.read_only)),
            "latency_us": str(round(latency * 1e6)),
            "transport": transport,
            **{f"meta.{key}": str(value) for key, value in grant.metadata.items() if key != "transport"},
        }

    def _check_thumbprint(self, request: dict[str, str]) -> None:
        given = request.get("thumbprint", "")
        if _plain(given) != _plain(self._authority.thumbprint):
            raise NfcError(UNKNOWN_ERROR, f"thumbprint {given!r} is not the server's")

    def _authorise(self, request: dict[str, str]) -> DiskGrant:
        return self._authority.open_disk(
            user=request.get("user"),
            password=request.get("password"),
            cookie=request.get("cookie"),
            vmx_spec=request.get("vmx_spec"),
            snapshot_ref=request.get("snapshot_ref"),
            path=request.get("path", ""),
            read_only=request.get("read_only") == "1",
            transports=request.get("transports", ""),
        )

    def _admit(self, client: _Client, grant: DiskGrant, transport: str) -> None:
        session = NfcSession(host=grant.host, ds_path=grant.ds_path, read_only=grant.read_only, transport=transport)
        with self._lock:
            if session.takes_memory:
                self._take_memory(grant)
            client.session = session

    def _take_memory(self, grant: DiskGrant) -> None:
        open_now = [client.session for client in self._clients if client.session and client.session.takes_memory]
        same_host = sum(session.host == grant.host for session in open_now)
        if same_host >= min(self._authority.nfc_session_limit, grant.most_sessions):
            self._refused += 1
            raise NfcError(OUT_OF_MEMORY, f"{grant.host}: {same_host} NFC sessions are open, no memory for more")
        self._most[grant.host] = max(self._most.get(grant.host, 0), same_host + 1)

    def _call(self, operation: str, request: dict[str, str]) -> dict[str, str | None]:
        """Answer ConnectEx, PrepareForAccess or EndAccess: each logs in first."""
        login = {name: request.get(name) for name in ("user", "password", "cookie")}
        vmx_spec, identity = request.get("vmx_spec", ""), request.get("identity", "")
        try:
            if operation != "connect":  # real hosts are known to notice a wrong thumbprint at Open only
                self._check_thumbprint(request)
            self._authority.log_in(**login)
            if code := self._faults.at_call(operation, vmx_spec):
                raise NfcError(code, f"{operation} of {vmx_spec}: planted fault")
            if operation == "prepare":
                self._authority.prepare_access(**login, vmx_spec=vmx_spec, identity=identity)
            elif operation == "end":
                self._authority.end_access(**login, vmx_spec=vmx_spec, identity=identity)
        except NfcError as error:
            log.info("%s of %s by %r refused: %s", operation, vmx_spec, identity, error)
            return {"status": str(error.code), "message": str(error)}
        except Exception:
            log.exception("%s of %s failed", operation, vmx_spec)
            return {"status": str(UNKNOWN_ERROR), "message": "internal error of the lab"}
        return {"status": "0"}


def _plain(thumbprint: str) -> str:
    return thumbprint.replace(":", "").replace(" ", "").lower()


def _transport(asked: str | None, grant: DiskGrant) -> str:
    """Return the first asked-for transport that works here. Without a list, it is the one that VDDK 8 would choose."""
    offered = grant.metadata.get("transport", "nbdssl:nbd").split(":")
    wanted = [word for word in (asked or "").split(":") if word]
    for word in wanted or offered:
        if word in offered and word in _KNOWN_TRANSPORTS:
            return word
    raise NfcError(NO_ACCESS, f"no transport of {asked!r} reaches {grant.ds_path}")


def _check_writing(grant: DiskGrant, transport: str) -> None:
    """Raise NfcError unless the rules of SAN and HotAdd allow writing.

    Both need a snapshot, and SAN writes only untracked thick base disks below the only snapshot. The next transport of
    the list is not tried, because that is the strictest reading of VMware's documents.
    """
    if grant.read_only or transport not in {"san", "hotadd"}:
        return
    if not grant.has_snapshot:
        raise NfcError(NO_ACCESS, f"{grant.ds_path}: {transport} writes only where the VM has a snapshot")
    if transport == "san" and grant.tracked:
        raise NfcError(NO_ACCESS, f"{grant.ds_path}: san does not write while changes are tracked")
    if transport == "san" and grant.redo_log:
        raise NfcError(NO_ACCESS, f"{grant.ds_path}: san does not write into a redo log")
    if transport == "san" and grant.older_snapshots:
        raise NfcError(NO_ACCESS, f"{grant.ds_path}: san writes only where the VM has no other snapshot")
    if transport == "san" and grant.thin:
        raise NfcError(NO_ACCESS, f"{grant.ds_path}: san does not write a thin disk")


def _fault_message(number: int, fault: NfcFault) -> dict[str, str | None]:
    return {
        "push": "fault",
        "fault": str(number),
        "on": fault.on,
        "after_bytes": str(fault.after_bytes),
        "after_requests": str(fault.after_requests),
    }
