"""Calls the Automation API of a vCenter: JSON over HTTPS, for data that SOAP does not have, such as tags.

The API has its own session, which the steps of a worker share as they do the session of SOAP. Since 7.0 Update 2 its
root is ``/api``. An older vCenter has only ``/rest``, with the same calls in another form. The newer root is tried
first.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
from vmkeep.lateclass import dataclass
from vmkeep.vsphere import tickets
from vmkeep.vsphere.connection import PinnedConnection
from vmkeep.vsphere.http import exchange
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.tickets import Token

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
    """A session of the Automation API. Only one thread may use it.

    It may be one that another step has begun. If the server knows that one no longer, the first call logs in anew.
    """

    def __init__(self, session: Session, connection: PinnedConnection) -> None:
        """Go on with the session that is kept for the same login and certificate, or log in."""
        self._session = session
        self._connection = connection
        connection.connect()
        kept = tickets.kept_token(session.login)
        self._borrowed = kept is not None and kept.certificate == session.thumbprint_sha256
        self._token = kept if kept is not None and self._borrowed else _log_in(session, connection)

    @property
    def dialect(self) -> Dialect:
        """The form of the calls."""
        return _dialect(self._token)

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
        """End the session, unless it is kept for others or was begun by another step.

        Never raises, because the server ends an idle session by itself.
        """
        if not tickets.keep_token(self._session.login, self._token) and not self._borrowed:
            _end(self._connection, self._token)

    def _path(self, service: str, key: str | None) -> str:
        end = "" if key is None else f"/{self.dialect.id_prefix}{quote(key, safe=':')}"
        return f"{self.dialect.root}{service}{end}"

    def _call(self, method: str, path: str, body: bytes | None) -> Any:
        try:
            return _send(self._connection, self.dialect, method, path, _headers(self._token), body)
        except AuthenticationError:
            if not self._borrowed:
                raise
        self._log_in_again()
        return _send(self._connection, self.dialect, method, path, _headers(self._token), body)

    def _log_in_again(self) -> None:
        ended, self._token = self._token, _log_in(self._session, self._connection)
        self._borrowed = False
        tickets.keep_token(self._session.login, self._token, ended=ended)


@contextmanager
def open_automation(session: Session) -> Iterator[Automation]:
    """Log in to the Automation API of a session's vCenter, or go on with a log-in that is kept.

    At the end log out, if the log-in is not kept.

    :raises UnsupportedError: the server has no Automation API.
    :raises AuthenticationError: the server refuses the user name or the password.
    """
    with contextlib.closing(session.open_connection()) as connection:
        opened = Automation(session, connection)
        try:
            yield opened
        finally:
            opened.close()


def end_token(session: Session, token: Token) -> None:
    """End a session that was kept. Never raises, because the server ends an idle session by itself."""
    with contextlib.closing(session.open_connection()) as connection, contextlib.suppress(VmKeepError):
        connection.connect()
        if session.thumbprint_sha256 == token.certificate:
            _end(connection, token)


def _end(connection: PinnedConnection, token: Token) -> None:
    with contextlib.suppress(VmKeepError):
        _send(connection, _dialect(token), "DELETE", token.path, _headers(token), None)


def _dialect(token: Token) -> Dialect:
    return next(dialect for dialect in _DIALECTS if dialect.session == token.path)


def _headers(token: Token) -> dict[str, str]:
    return {_HEADER: token.value, "Content-Type": "application/json", "Accept": "application/json"}


def _log_in(session: Session, connection: PinnedConnection) -> Token:
    headers = {"Authorization": session.basic_authorization(), "Accept": "application/json"}
    for dialect in _DIALECTS:
        try:
            value = _send(connection, dialect, "POST", dialect.session, headers, b"")
        except _UnknownCallError:
            continue
        if not isinstance(value, str):
            raise VSphereError(f"log in to the Automation API of {session.host}: its answer names no session")
        return Token(certificate=session.thumbprint_sha256, path=dialect.session, value=value)
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
