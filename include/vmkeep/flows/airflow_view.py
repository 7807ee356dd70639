"""Speaks to the web view of an Airflow from another machine: work, windows, the stop of a run, and rate limits.

The web view has each page as JSON, too, and judges the rights of the user who calls. So this is a client of these
answers and of Airflow's log-in and health, and knows nothing of Airflow itself. It goes on to work while Airflow's
scheduler is down, because the API server answers alone.
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from functools import cached_property
from http import HTTPStatus
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import quote, urlsplit

from vmkeep.errors import (
    AuthenticationError,
    CertificateError,
    NotFoundError,
    PermissionDeniedError,
    UnreachableError,
    UnsupportedError,
    UsageError,
    VmKeepError,
)
from vmkeep.lateclass import dataclass

_SECONDS: Final = 60.0
"""Seconds for which a call waits for the next bytes of its answer."""
_LARGEST: Final = 64 << 20
"""Bytes of the largest answer that is read."""
_VIEW: Final = "/vmkeep"
"""The path of the web view below that of Airflow."""
_REFUSALS: Final[dict[int, type[VmKeepError]]] = {
    HTTPStatus.UNAUTHORIZED: AuthenticationError,
    HTTPStatus.FORBIDDEN: PermissionDeniedError,
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.CONFLICT: UnsupportedError,
    HTTPStatus.UNPROCESSABLE_ENTITY: UsageError,
    HTTPStatus.BAD_REQUEST: UsageError,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AirflowAccess:
    """The address of an Airflow, and the way to log in there: a token, or a user with a password."""

    url: str
    user: str | None
    password: str | None
    token: str | None

    def __post_init__(self) -> None:
        """Refuse what cannot be an access.

        :raises UsageError: the address is none of HTTP, or there is no way to log in.
        """
        if "@" in self.url:
            raise UsageError(
                "Airflow's address has a user name in it, which logs would show: give --airflow-user and "
                "--airflow-password-file"
            )
        if not _is_address(self.url):
            raise UsageError(f"Airflow's address '{self.url}' is none: write e.g. https://airflow.example.com")
        if not self.token and not (self.user and self.password):
            raise UsageError(
                "nobody is named to log in to Airflow: give --airflow-user and --airflow-password-file, "
                "or a token in VMKEEP_AIRFLOW_TOKEN"
            )

    @property
    def is_open(self) -> bool:
        """Whether the password or the token goes over a network unencrypted."""
        parts = urlsplit(self.url)
        return parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1")


def _is_address(url: str) -> bool:
    """Return whether a text is an address of HTTP whose host can be asked for."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
        return parts.scheme in ("http", "https") and bool(host and host.encode("idna")) and url.isascii()
    except ValueError:  # an open bracket, a port that is no number, a part of a name that is too long
        return False


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nothing, because a token is for one server, and a change must not become a look."""

    def redirect_request(self, *_args: Any) -> None:
        """Return no further request."""


class AirflowView:
    """The web view of one Airflow. It logs in at its first call, and may be used until its token ends.

    All methods raise :class:`AuthenticationError`, :class:`PermissionDeniedError`, :class:`CertificateError` and
    :class:`UnreachableError`.
    """

    def __init__(self, access: AirflowAccess) -> None:
        self._access = access
        self._root = access.url.rstrip("/")
        self._opener = urllib.request.build_opener(_NoRedirect)

    def work(self) -> dict[str, Any]:
        """Return everything in work, as the page *Running now* has it."""
        return self._of_view("GET", "running")

    def windows(self, day: str | None) -> dict[str, Any]:
        """Return the windows of a day of UTC, as the page *Windows* has them; ``None``: today."""
        return self._of_view("GET", "windows" if day is None else f"windows?day={quote(day, safe='')}")

    def silent_components(self) -> list[str]:
        """Return a sentence for each of Airflow's components without which no window opens and that is not healthy."""
        told = self._call("GET", "/api/v2/monitor/health")
        return [
            f"{name.replace('_', ' ')}: {_state_of(told.get(name), f'latest_{name}_heartbeat')}"
            for name in ("metadatabase", "scheduler", "dag_processor")
            if (told.get(name) or {}).get("status") != "healthy"
        ]

    def stop(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Stop a DAG run, so that it cleans up. Return the subject of the run, and what happens now.

        :raises NotFoundError: no such run is in work.
        """
        return self._of_view("POST", f"running/stop/{quote(dag_id, safe='')}/{quote(run_id, safe='')}")

    def change_limit(self, conn_id: str, rate: str) -> None:
        """Change the rate limit of a repository's connection.

        :param rate: empty: no limit any more.
        :raises UsageError: the rate is none.
        :raises UnsupportedError: tasks do not take the connection from Airflow's database.
        """
        self._of_view("POST", f"running/limits/{quote(conn_id, safe='')}", {"limit_rate": rate})

    def _of_view(self, method: str, path: str, body: object | None = None) -> dict[str, Any]:
        return self._call(method, f"{_VIEW}/api/{path}", body, token=self._token)

    @cached_property
    def _token(self) -> str:
        if self._access.token:
            return self._access.token
        named = {"username": self._access.user, "password": self._access.password}
        told = self._call("POST", "/auth/token", named)
        return str(told.get("access_token") or "")

    def _call(self, method: str, path: str, body: object | None = None, *, token: str = "") -> dict[str, Any]:
        request = urllib.request.Request(f"{self._root}{path}", method=method)  # noqa: S310 - the scheme was looked at
        request.add_header("Accept", "application/json")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        if body is not None:
            request.add_header("Content-Type", "application/json")
        data = None if body is None else json.dumps(body).encode()
        try:
            with self._opener.open(request, data=data, timeout=_SECONDS) as answer:
                blob = answer.read(_LARGEST + 1)
        except urllib.error.HTTPError as error:
            raise self._refusal(error) from error
        except (OSError, HTTPException) as error:
            raise self._silence(error) from error
        return self._parsed(blob)

    def _parsed(self, blob: bytes) -> dict[str, Any]:
        try:
            told = json.loads(blob) if len(blob) <= _LARGEST else None
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise UnreachableError(
                f"{self._root} answers, but not as an Airflow with vmkeep does: compare the address with that of its "
                "pages, without '/vmkeep'"
            )
        return told

    def _refusal(self, error: urllib.error.HTTPError) -> VmKeepError:
        if HTTPStatus.MULTIPLE_CHOICES <= error.code < HTTPStatus.BAD_REQUEST:
            there = error.headers.get("Location", "elsewhere")
            return UsageError(f"{self._root} sends on to {there}: give the address at which Airflow itself answers")
        try:
            told = json.loads(error.read(_LARGEST))
            why = str(told["detail"])
        except (ValueError, KeyError, TypeError, OSError, HTTPException):
            why = ""
        hint = ""
        if urlsplit(self._root).path.endswith(_VIEW):
            hint = f". '{_VIEW}' at the end may be that of the web view: give the address of Airflow, without it"
        if error.code == HTTPStatus.NOT_FOUND and why in ("", "Not Found"):
            return NotFoundError(f"{self._root} has no web view of this version of vmkeep: compare the address{hint}")
        kind = _REFUSALS.get(error.code, UnreachableError)
        if why and kind in (NotFoundError, UsageError):
            return kind(f"{why.rstrip('.')} (told by Airflow at {self._root}){hint}")
        return kind(f"Airflow at {self._root} refuses it ({error.code}): {why or error.reason}{hint}")

    def _silence(self, error: Exception) -> VmKeepError:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            return CertificateError(
                f"the certificate of {self._root} cannot be trusted: {reason.verify_message}. Name its authority by "
                "the variable SSL_CERT_FILE"
            )
        return UnreachableError(f"Airflow at {self._root} gives no answer: {reason}. Is its API server at work?")


def _state_of(told: Any, heartbeat: str) -> str:
    known = told if isinstance(told, dict) else {}
    last = known.get(heartbeat)
    return f"{known.get('status') or 'not there'}{f', last sign of life {last}' if last else ''}"
