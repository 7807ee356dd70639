"""Calls the Automation API of a vCenter: JSON over HTTPS, for data that SOAP does not have, such as tags.

The API has its own session. Since 7.0 Update 2 its root is ``/api``. An older vCenter has only ``/rest``, with the same
calls in another form. The newer root is tried first.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from vmkeep.errors import (
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    TransientError,
    UnsupportedError,
    VmKeepError,
    VSphereError,
)
from vmkeep.vsphere.connection import PinnedConnection
from vmkeep.vsphere.http import exchange
from vmkeep.vsphere.session import Session

LIMIT = 64 << 20
"""Greatest number of bytes of one answer."""
_HEADER = "vmware-api-session-id"
_UNKNOWN = (400, 404, 405)
"""HTTP statuses of an unknown call. An older server has something else at ``/api``, which gives any of these."""
_BUSY = (429, 502, 503, 504)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The form of the calls at one of the two roots."""

    session: str
    root: str
    id_prefix: str
    """Text before an id in a path."""
    action: str
    """Name of the query's field that names an action."""
    wrapped: bool
    """Every answer is wrapped in a field ``value``."""


_DIALECTS = (
    Dialect(session="/api/session", root="/api/cis/", id_prefix="", action="action", wrapped=False),
    Dialect(
        session="/rest/com/vmware/cis/session",
        root="/rest/com/vmware/cis/",
        id_prefix="id:",
        action="~action",
        wrapped=True,
    ),
)


class _UnknownCallError(NotFoundError):
    """The server does not know the call, or the thing that the path names."""


class Automation:
    """A session of the Automation API. Only one thread may use it."""

    def __init__(self, connection: PinnedConnection, dialect: Dialect, token: str) -> None:
        self._connection = connection
        self.dialect = dialect
        self._token = token

    def __repr__(self) -> str:
        """Name only the server, because the token is secret."""
        return f"<Automation {self._connection.host}>"

    def get(self, service: str, key: str | None = None) -> Any:
        """Return the list of a service, or one of its items by id.

        :param service: e.g. ``tagging/tag``.
        :raises NotFoundError: the item does not exist, or not any more.
        """
        return self._call("GET", self._path(service, key), None)

    def act(self, service: str, action: str, body: Mapping[str, Any], *, key: str | None = None) -> Any:
        """Return the answer of an action that may be repeated, because it changes nothing the second time."""
        path = f"{self._path(service, key)}?{self.dialect.action}={action}"
        return self._call("POST", path, json.dumps(body).encode())

    def close(self) -> None:
        """End the session. Never raises, because the server ends an idle session by itself."""
        with contextlib.suppress(VmKeepError):
            self._call("DELETE", self.dialect.session, None)

    def _path(self, service: str, key: str | None) -> str:
        end = "" if key is None else f"/{self.dialect.id_prefix}{quote(key, safe=':')}"
        return f"{self.dialect.root}{service}{end}"

    def _call(self, method: str, path: str, body: bytes | None) -> Any:
        headers = {_HEADER: self._token, "Content-Type": "application/json", "Accept": "application/json"}
        return _send(self._connection, self.dialect, method, path, headers, body)


@contextmanager
def open_automation(session: Session) -> Iterator[Automation]:
    """Log in to the Automation API of a session's vCenter; log out at the end.

    :raises UnsupportedError: the server has no Automation API.
    :raises AuthenticationError: the server refuses the user name or the password.
    """
    with contextlib.closing(session.open_connection()) as connection:
        opened = _log_in(session, connection)
        try:
            yield opened
        finally:
            opened.close()


def _log_in(session: Session, connection: PinnedConnection) -> Automation:
    headers = {"Authorization": session.basic_authorization(), "Accept": "application/json"}
    for dialect in _DIALECTS:
        try:
            token = _send(connection, dialect, "POST", dialect.session, headers, b"")
        except _UnknownCallError:
            continue
        if not isinstance(token, str):
            raise VSphereError(f"log in to the Automation API of {session.host}: its answer names no session")
        return Automation(connection, dialect, token)
    raise UnsupportedError(f"{session.host} has no Automation API (neither /api nor /rest), so it tells no tags")


def _send(
    connection: PinnedConnection, dialect: Dialect, method: str, path: str, headers: Mapping[str, str],
    body: bytes | None,
) -> Any:  # fmt: skip
    status, data = exchange(connection, method, path, headers=headers, body=body, limit=LIMIT)
    what = f"{connection.host}: {method} {path.partition('?')[0]}"
    if status >= 300:
        raise _refused(status, what, connection.host)
    if not data.strip():
        return None
    try:
        answer = json.loads(data)
        return answer.get("value") if dialect.wrapped else answer
    except (ValueError, AttributeError) as error:
        raise VSphereError(f"{what}: the answer makes no sense ({error!r})") from None


def _refused(status: int, what: str, host: str) -> VmKeepError:
    if status == 401:
        return AuthenticationError(f"{what}: user name or password was refused, or the session has ended")
    if status == 403:
        return PermissionDeniedError(f"{what}: the user may not; give him System.Read as a global permission")
    if status in _UNKNOWN:
        return _UnknownCallError(f"{what}: there is no such thing on {host}")
    if status in _BUSY:
        return TransientError(f"{what}: the service is busy or not there now (HTTP {status}); try again")
    return VSphereError(f"{what}: the server answers HTTP {status}")
