"""pyVmomi's SOAP stub on our own connections, which are pinned and limited in time. It renews an expired session.

All SOAP calls pass here, so this module turns transport errors into our errors. vSphere's own faults pass through.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from xml.parsers.expat import ExpatError

from vmkeep.errors import TransientError, UnreachableError
from vmkeep.vsphere.api import SoapStubAdapter, vim, vmodl
from vmkeep.vsphere.connection import PinnedConnection
from vmkeep.vsphere.trust import Trust

_REPEATABLE = ("Retrieve", "Find", "Query", "Fetch", "CurrentTime", "WaitForUpdatesEx", "HasPrivilege")
"""Beginnings of calls that change nothing. They are repeated once if the connection dies before the answer.

``Fetch`` reads a property.
"""
_OF_ONE_SESSION = (
    "WaitForUpdatesEx",
    "ContinueRetrievePropertiesEx",
    "CreateFilter",
    "DestroyView",
    "DestroyPropertyCollector",
)
"""Calls on objects that end with their session: views, collectors, pages. A new session cannot continue them."""
_WITHOUT_SESSION = ("Login", "Logout", "RetrieveServiceContent")


class SessionRenewedError(TransientError):
    """The session had expired, and a new one was opened. Views and collectors have to be made again."""

    exit_code = 33


class PinnedStub(SoapStubAdapter):  # type: ignore[misc]  # pyVmomi's class is made at run time
    """Sends SOAP calls. Thread-safe like pyVmomi's stub: each call in flight has a connection from a small pool."""

    _cookie = ""
    _cookie_owner: int | None = None

    _log_in: Callable[[], None] | None = None

    def __init__(
        self,
        host: str,
        port: int,
        *,
        trust: Trust,
        version: str,
        call_timeout: float,
        path: str = "/sdk",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(host=host, port=port, version=version, path=path, requestContext=headers)
        self._address = f"{host}:{port}"
        self.scheme = PinnedConnection
        self.schemeArgs: dict[str, Any] = {"trust": trust, "call_timeout": call_timeout}
        self._generation = 0
        self._patience = threading.local()
        self._login_lock = threading.Lock()
        self._dropped = False

    def __repr__(self) -> str:
        """Name only the server, because pyVmomi's attributes hold the session cookie."""
        return f"<PinnedStub {self._address}>"

    @property
    def cookie(self) -> str:
        """The session's cookie, ``name=value``."""
        return self._cookie

    @cookie.setter
    def cookie(self, header: str) -> None:
        # A call that meets an expired session may bring the cookie of a new session without log-in. It must not
        # replace the cookie of a log-in that another thread has just made.
        if self._log_in is None or self._cookie_owner == threading.get_ident():
            self._cookie = header.split(";")[0]

    def on_expired(self, log_in: Callable[[], None]) -> None:
        """Set the function that logs in. It is called at most once for each expired session."""
        self._log_in = log_in

    def InvokeMethod(self, mo: Any, info: Any, args: Any, outerStub: Any = None) -> Any:  # noqa: N802, N803
        """Send one call. If the session has expired, log in again and repeat the call once."""
        generation = self._generation
        try:
            answer = self._send(mo, info, args, outerStub)
            if self._log_in is None or not _tells_nobody(answer):
                return answer
        except vim.fault.NotAuthenticated:
            if self._log_in is None or info.wsdlName in _WITHOUT_SESSION:
                raise
        self.log_in_again(generation)
        if info.wsdlName in _OF_ONE_SESSION:
            raise SessionRenewedError(f"{self._address}: the session had expired during {info.wsdlName}")
        return self._send(mo, info, args, outerStub)

    @contextmanager
    def patience(self, call_timeout: float) -> Iterator[None]:
        """Set the seconds for each call that this thread makes in the body."""
        self._patience.seconds = call_timeout
        try:
            yield
        finally:
            del self._patience.seconds

    def GetConnection(self) -> Any:  # noqa: N802
        """Return a connection for one call, with that call's time limit."""
        connection = super().GetConnection()
        connection.call_timeout = getattr(self._patience, "seconds", self.schemeArgs["call_timeout"])
        return connection

    def ReturnConnection(self, conn: Any) -> None:  # noqa: N802
        """Keep a connection for the next call. After the session's end, nobody would close it, so it is closed."""
        super().ReturnConnection(conn)
        if self._dropped:
            super().DropConnections()

    def DropConnections(self) -> None:  # noqa: N802
        """Close every connection, also those of calls that end later."""
        self._dropped = True
        super().DropConnections()

    def hurry(self, call_timeout: float) -> None:
        """Limit all later calls to this many seconds."""
        self.schemeArgs = self.schemeArgs | {"call_timeout": min(call_timeout, self.schemeArgs["call_timeout"])}

    @property
    def generation(self) -> int:
        """The number of sessions so far. It shows whether an expired session has already been replaced."""
        return self._generation

    def log_in_again(self, generation: int) -> None:
        """Replace the session with this number, unless another thread has done so meanwhile."""
        with self._login_lock:
            if generation != self._generation or self._log_in is None:
                return
            self._cookie_owner = threading.get_ident()
            self._cookie = ""  # because vSphere refuses a second log-in in a session that it still knows
            try:
                self._log_in()
                self._generation += 1
            finally:
                self._cookie_owner = None

    def _send(self, mo: Any, info: Any, args: Any, outer: Any) -> Any:
        try:
            return self._send_once(mo, info, args, outer)
        except TransientError:
            if not info.wsdlName.startswith(_REPEATABLE):
                raise
        return self._send_once(mo, info, args, outer)

    def _send_once(self, mo: Any, info: Any, args: Any, outer: Any) -> Any:
        what = f"{self._address}: {info.wsdlName}"
        try:
            return super().InvokeMethod(mo, info, args, outer)
        except TimeoutError:
            raise UnreachableError(f"{what}: no answer in time") from None
        except (http.client.HTTPException, OSError) as error:
            raise TransientError(f"{what}: the connection failed ({str(error) or type(error).__name__})") from None
        except ExpatError as error:
            raise UnreachableError(f"{what}: the answer is not SOAP ({error}); is this a vCenter or ESXi?") from None


def _tells_nobody(answer: Any) -> bool:
    """Return whether properties are missing in an answer because nobody is logged in, which is no fault of the call."""
    return isinstance(answer, vmodl.query.PropertyCollector.RetrieveResult) and any(
        isinstance(missing.fault, vim.fault.NotAuthenticated)
        for content in answer.objects
        for missing in content.missingSet or ()
    )
