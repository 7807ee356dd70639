"""A logged-in session with one vCenter or ESXi host, kept alive and logged in again when it has expired.

The certificate is checked before the password is sent (:mod:`vmkeep.vsphere.trust`). No ``repr``, message or
log line shows the password or the session id.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any, cast

from vmkeep.errors import StaleError, UnreachableError, VmKeepError
from vmkeep.model.site import VCenter
from vmkeep.vsphere import tickets
from vmkeep.vsphere.api import deserialize, newest_version, serialize, vim
from vmkeep.vsphere.connection import PinnedConnection
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.http import exchange
from vmkeep.vsphere.stub import PinnedStub
from vmkeep.vsphere.tickets import Ticket
from vmkeep.vsphere.trust import Trust

log = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 300.0
"""Seconds between two calls that keep the session alive. vCenter ends a session after 30 minutes without a call."""
CALL_SECONDS = 90.0
"""Seconds that one call may take. Longer work runs as tasks, and waiting for a task makes short calls."""
LOGOUT_SECONDS = 10.0
"""Seconds for the log-out, because a server that does not answer must not delay the end of a run."""


class Session:
    """A logged-in session, made by :func:`open_session`. Thread-safe."""

    def __init__(
        self, vcenter: VCenter, trust: Trust, stub: PinnedStub, call_timeout: float, ticket: Ticket | None = None
    ) -> None:
        """Log in, or go on with the session of a ticket.

        A ticket is not tried out: if its session has ended, the first call logs in, as after any expiry.
        """
        self._vcenter = vcenter
        self._trust = trust
        self._stub = stub
        self._call_timeout = call_timeout
        self._borrowed = ticket is not None
        self._lost = False
        if ticket is None:
            self.content: Any = self._read_content()
            self.log_in()
            tickets.keep(vcenter, self._ticket())
        else:
            self.content = deserialize(ticket.content.encode(), vim.ServiceInstanceContent, stub)
            self._user_name, self._session_key = ticket.user_name, ticket.session_key
            stub.cookie = ticket.cookie
        stub.on_expired(self._log_in_again)

    def __repr__(self) -> str:
        """Name the server and the user, and nothing secret."""
        return f"<Session {self._vcenter.user} at {self._vcenter.host}:{self._vcenter.port}>"

    @property
    def login(self) -> VCenter:
        """The server, user and password, as they were given. Not for logs."""
        return self._vcenter

    @property
    def host(self) -> str:
        """Name or address of the server, as it was given."""
        return self._vcenter.host

    @property
    def thumbprint_sha1(self) -> str:
        """SHA-1 of the server's checked certificate, upper-case hex with colons."""
        return self._trust.thumbprint_sha1

    @property
    def thumbprint_sha256(self) -> str:
        """SHA-256 of the same certificate."""
        return self._trust.thumbprint_sha256

    @property
    def is_vcenter(self) -> bool:
        """The server is a vCenter; else it is an ESXi host."""
        return bool(self.content.about.apiType == "VirtualCenter")

    @property
    def instance_uuid(self) -> str | None:
        """The vCenter's own UUID; ``None`` on an ESXi host."""
        return cast("str | None", self.content.about.instanceUuid)

    @property
    def version(self) -> str:
        """Product version, e.g. ``8.0.3``."""
        return cast("str", self.content.about.version)

    @property
    def api_version(self) -> str:
        """PyVmomi's name of the API version that is spoken, e.g. ``vim.version.v8_0_3_0``."""
        return cast("str", self._stub.version)

    @property
    def user_name(self) -> str:
        """The user who is logged in, by the server's name for the user."""
        return self._user_name

    @property
    def generation(self) -> int:
        """The number of log-ins so far. Views and collectors of an earlier log-in are gone."""
        return self._stub.generation

    @property
    def session_key(self) -> str:
        """The key by which the server's authorization manager knows this session. Not for logs."""
        return self._session_key

    def managed(self, kind: Any, mo_id: str) -> Any:
        """Return a managed object by its id. Nothing is sent, so the object may not exist."""
        return kind(mo_id, self._stub)

    def vm(self, mo_id: str) -> Any:
        """Return a VM by its managed object id. Nothing is sent, so the VM may not exist."""
        return self.managed(vim.VirtualMachine, mo_id)

    def patience(self, call_timeout: float) -> AbstractContextManager[None]:
        """Set the seconds for each call that this thread makes in the body."""
        return self._stub.patience(call_timeout)

    def side_stub(self, path: str, version: str, *, call_timeout: float) -> PinnedStub:
        """Return a stub for another service of the same vCenter, in this session. The caller closes its connections.

        :param path: e.g. ``/pbm/sdk``.
        :param version: pyVmomi's name of that service's API version.
        """
        session_id = self._stub.cookie.partition("=")[2].strip('"')
        return PinnedStub(
            self._vcenter.host,
            self._vcenter.port,
            trust=self._trust,
            version=version,
            call_timeout=min(call_timeout, self._call_timeout),
            path=path,
            headers={"vcSessionCookie": session_id},
        )

    def open_connection(self) -> PinnedConnection:
        """Return a connection to the same server, its certificate checked, for calls that are no SOAP."""
        return PinnedConnection(
            self._vcenter.host, self._vcenter.port, trust=self._trust, call_timeout=self._call_timeout
        )

    def basic_authorization(self) -> str:
        """Return the header that logs in to another service of the same server. It holds the password: not for logs."""
        secret = f"{self._vcenter.user}:{self._vcenter.password}".encode()
        return f"Basic {base64.b64encode(secret).decode()}"

    def request(self, method: str, path: str, *, body: bytes | None = None, limit: int = 16 << 20) -> tuple[int, bytes]:
        """Send one plain HTTPS request with the session's cookie, e.g. for ``/folder``. Log in again after a 401.

        :param limit: bytes that the answer's body may have.
        :returns: status and body.
        :raises TransientError: the body is longer.
        """
        generation = self._stub.generation
        answer = self._exchange(method, path, body, limit)
        if answer[0] == 401:
            self._stub.log_in_again(generation)
            answer = self._exchange(method, path, body, limit)
        return answer

    def log_in(self) -> None:
        """Send user and password.

        :raises AuthenticationError: the server refused them.
        """
        with speaking(f"log in to {self._vcenter.host} as {self._vcenter.user}"):
            user = self.content.sessionManager.Login(self._vcenter.user, self._vcenter.password, None)
        self._user_name, self._session_key = str(user.userName), str(user.key)
        log.debug("logged in to %s as %s", self._vcenter.host, self._vcenter.user)

    def _log_in_again(self) -> None:
        """Log in anew to the same server, which may be another one by now if the session is an older process's.

        :raises StaleError: another server answers at the address. It was sent no password.
        """
        content = self._read_content()
        before, now = self.content.about.instanceUuid, content.about.instanceUuid
        if before != now:
            self._lost = True
            tickets.forget(self._vcenter, self._session_key)  # else every later step would begin with this session
            raise StaleError(f"{self.host} is another server by now ({now or 'unknown'}, not {before}): begin anew")
        self.content = content
        self.log_in()
        self._borrowed = False
        tickets.replace(self._vcenter, self._ticket())

    def _read_content(self) -> Any:
        with speaking(self._vcenter.host):
            return vim.ServiceInstance("ServiceInstance", self._stub).RetrieveContent()

    def _ticket(self) -> Ticket:
        return Ticket(
            version=self.api_version,
            certificate=self.thumbprint_sha256,
            cookie=self._stub.cookie,
            user_name=self._user_name,
            session_key=self._session_key,
            content=serialize(self.content, self.api_version).decode(),
        )

    def server_time(self) -> datetime:
        """Return the time by the server's clock, to compare with times of snapshots. Keeps the session alive."""
        with speaking(f"ask {self._vcenter.host} for its time"):
            time: datetime = vim.ServiceInstance("ServiceInstance", self._stub).CurrentTime()
            return time.astimezone(UTC)

    def keep(self) -> bool:
        """Keep the log-in for others, or for longer. Return whether it is kept."""
        return not self._lost and tickets.keep(self._vcenter, self._ticket())

    def close(self) -> None:
        """Log out, unless the log-in is kept for others or was begun by another step, and close every connection.

        Never raises, because the server ends an idle session by itself.
        """
        if self.keep() or self._borrowed:  # others may work with a session that this one has only gone on with
            self._stub.DropConnections()
        else:
            self.end()

    def end(self) -> None:
        """Log out, whoever else may go on with the session, and close every connection. Never raises."""
        self._stub.hurry(LOGOUT_SECONDS)
        with contextlib.suppress(VmKeepError), speaking("log out"):
            self.content.sessionManager.Logout()
        self._stub.DropConnections()

    def _exchange(self, method: str, path: str, body: bytes | None, limit: int) -> tuple[int, bytes]:
        with contextlib.closing(self.open_connection()) as connection:
            return exchange(connection, method, path, headers={"Cookie": self._stub.cookie}, body=body, limit=limit)


@contextmanager
def open_session(
    vcenter: VCenter, *, call_timeout: float = CALL_SECONDS, keep_alive: float = KEEP_ALIVE_SECONDS
) -> Iterator[Session]:
    """Connect, check the certificate and log in, or go on with a log-in that is kept. Log out at the end if it is not.

    :param call_timeout: seconds that one call may take.
    :param keep_alive: seconds between two calls that keep the session alive.
    :raises CertificateError: the certificate is not the pinned one, or no known authority signed it.
    :raises UnreachableError: the name does not resolve, no server answers in time, or the server is no vSphere.
    :raises AuthenticationError: the server refused the user name or the password.
    """
    session = connect(vcenter, tickets.kept(vcenter), call_timeout)
    stop = threading.Event()
    keeper = threading.Thread(
        target=_keep_alive, args=(session, stop, keep_alive), name="vsphere-keep-alive", daemon=True
    )
    keeper.start()
    try:
        yield session
    finally:
        stop.set()
        session.close()
        keeper.join(5)


def connect(vcenter: VCenter, ticket: Ticket | None, call_timeout: float) -> Session:
    """Connect and check the certificate. Go on with the session of a ticket, or log in. The caller closes it."""
    trust = Trust(vcenter)
    connection = PinnedConnection(vcenter.host, vcenter.port, trust=trust, call_timeout=call_timeout)
    with _closed_on_error(connection):
        connection.connect()
        if ticket is not None and ticket.certificate != trust.thumbprint_sha256:
            ticket = None  # another certificate may be another server's, to which the cookie must not go
        version = _version(connection) if ticket is None else ticket.version
    stub = PinnedStub(vcenter.host, vcenter.port, trust=trust, version=version, call_timeout=call_timeout)
    stub.ReturnConnection(connection)
    try:
        return Session(vcenter, trust, stub, call_timeout, ticket)
    except BaseException:
        stub.DropConnections()
        raise


def _keep_alive(session: Session, stop: threading.Event, interval: float) -> None:
    while not stop.wait(interval):
        try:
            session.server_time()
            session.keep()  # because it must not lapse while this step works with it
        except VmKeepError as error:
            # The next real call meets the same trouble and reports it.
            log.debug("%s: %s", session.host, error)


@contextmanager
def _closed_on_error(connection: PinnedConnection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


def _version(connection: PinnedConnection) -> str:
    where = f"{connection.host}:{connection.port}"
    status, text = exchange(connection, "GET", "/sdk/vimServiceVersions.xml", headers={}, body=None, limit=1 << 20)
    space = re.search(rb"<name>urn:vim25</name>(.*?)</namespace>", text, re.DOTALL)
    if status != 200 or space is None:
        raise UnreachableError(f"{where} answers, but not as vCenter or ESXi does (HTTP {status}); check the address")
    offered = [found.decode() for found in re.findall(rb"<version>([\w.]+)</version>", space[1])]
    version = newest_version(offered)
    if version is None:
        raise UnreachableError(f"{where} speaks no API version that is known here ({', '.join(offered[:3])} …)")
    return version
