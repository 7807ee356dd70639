"""The way to a folder behind SSH: location, host key, login, channels. Knows no keys of blobs.

Login is by key only, from the agent or ``~/.ssh``; a host that is not in ``known_hosts`` is refused before anything of
ours is sent. Nothing ever asks a question.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import paramiko

from vmkeep.errors import AuthenticationError, CertificateError, StoreError, UsageError, VmKeepError

_SFTP = re.compile(r"sftp://(?P<user>[^@/:]+)@(?P<host>[A-Za-z0-9._-]+)(?::(?P<port>\d{1,5}))?(?P<path>/.*)")
_SCP = re.compile(r"scp://(?P<user>[^@/:]+)@(?P<host>[A-Za-z0-9._-]+):(?P<path>.+)")
_PATIENCE = 15.0
_SILENCE = 60.0
_CHANNELS = 6
"""Transfers at once over one connection; OpenSSH allows ten unless told otherwise."""
_WINDOW = 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SshLocation:
    """``sftp://user@host[:port]/path`` or ``scp://user@host:path``, taken apart."""

    text: str
    user: str
    host: str
    port: int
    path: str
    """Without a slash at its end; one that does not begin with a slash starts at the user's home."""


def parse_location(location: str) -> SshLocation:
    """Take a location apart. Both forms speak SFTP; they differ in where a path starts, and in the port.

    :raises UsageError: it is neither.
    """
    match = _SFTP.fullmatch(location) or _SCP.fullmatch(location)
    path = match["path"].rstrip("/") if match else ""
    if match is None or not path:
        raise UsageError(f"{location}: write sftp://user@host[:port]/path or scp://user@host:path; no password in it")
    port = int(match.groupdict().get("port") or 22)
    return SshLocation(text=location, user=match["user"], host=match["host"], port=port, path=path)


class SshAccess:
    """One connection, made when it is needed and again when it is lost, and a few SFTP channels over it."""

    def __init__(self, place: SshLocation) -> None:
        self.place = place
        self._client: paramiko.SSHClient | None = None
        self._idle: list[Any] = []
        self._slots = threading.BoundedSemaphore(_CHANNELS)
        self._lock = threading.Lock()

    @contextmanager
    def channel(self) -> Iterator[Any]:
        """Lend a :class:`paramiko.SFTPClient` to one thread; one that failed is not lent again.

        :raises StoreError: the server cannot be reached.
        :raises CertificateError: it is not known, or not the one that is known.
        :raises AuthenticationError: it accepts none of our keys.
        """
        with self._slots:
            channel = self._take()
            try:
                yield channel
            except (FileNotFoundError, PermissionError, VmKeepError):
                self._give_back(channel)
                raise
            except BaseException:
                with suppress(Exception):
                    channel.close()
                raise
            self._give_back(channel)

    def _take(self) -> Any:
        with self._lock:
            if self._client is not None and not _is_alive(self._client):
                self._client.close()
                self._client, self._idle = None, []
            if self._idle:
                return self._idle.pop()
            if self._client is None:
                self._client = self._connect()
            try:
                opened = paramiko.SFTPClient.from_transport(self._client.get_transport(), window_size=_WINDOW)
            except (paramiko.SSHException, OSError, EOFError) as error:
                raise StoreError(f"{self.place.text}: the server opens no SFTP channel: {error}") from error
            opened.get_channel().settimeout(_SILENCE)
            return opened

    def _give_back(self, channel: Any) -> None:
        with self._lock:
            if channel.get_channel().closed:
                return
            self._idle.append(channel)

    def _connect(self) -> paramiko.SSHClient:
        place = self.place
        client = paramiko.SSHClient()
        client.load_system_host_keys()
        client.set_missing_host_key_policy(_Unknown(place))
        try:
            client.connect(
                place.host, place.port, place.user, timeout=_PATIENCE, banner_timeout=_PATIENCE, auth_timeout=_PATIENCE
            )
        except paramiko.BadHostKeyException as error:
            client.close()
            raise CertificateError(
                f"{place.text}: the host key is not the one in ~/.ssh/known_hosts; if the server was set up anew, "
                f"remove the old one: ssh-keygen -R '{_known_as(place)}'"
            ) from error
        except (paramiko.AuthenticationException, paramiko.PasswordRequiredException) as error:
            client.close()
            raise _refused(place) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            asked = _asks_who_we_are(client)
            client.close()
            if asked:  # there is no key to try
                raise _refused(place) from error
            raise StoreError(
                f"{place.text}: {place.host}:{place.port} cannot be reached: {_reason(error)}; check address and port"
            ) from error
        except CertificateError:
            client.close()
            raise
        client.get_transport().set_keepalive(int(_PATIENCE))
        return client

    def close(self) -> None:
        """End the connection."""
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client, self._idle = None, []


def _is_alive(client: paramiko.SSHClient) -> bool:
    transport = client.get_transport()
    return transport is not None and transport.is_active()


def _reason(error: Exception) -> str:
    """Return the operating system's words; paramiko hides them behind a number of its own, one for each address."""
    if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
        return ", ".join(sorted({_reason(each) for each in error.errors.values()}))
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _asks_who_we_are(client: paramiko.SSHClient) -> bool:
    """Return whether the server is there, has shown its own key, and waits for ours."""
    transport = client.get_transport()
    return transport is not None and transport.initial_kex_done and transport.is_active()


def _known_as(place: SshLocation) -> str:
    return place.host if place.port == 22 else f"[{place.host}]:{place.port}"


def _refused(place: SshLocation) -> AuthenticationError:
    return AuthenticationError(
        f"{place.text}: {place.host} accepts none of the keys of the agent and ~/.ssh for '{place.user}'; add one to "
        "its authorized_keys, and if it has a passphrase, load it into the agent (ssh-add)"
    )


class _Unknown:
    """The policy for an unknown host: refuse it, and say how to make it known."""

    def __init__(self, place: SshLocation) -> None:
        self._place = place

    def missing_host_key(self, client: object, hostname: str, key: Any) -> None:
        """Refuse."""
        place = self._place
        raise CertificateError(
            f"{place.text}: host {place.host} is not in ~/.ssh/known_hosts; compare its key ({key.get_name()} "
            f"{key.fingerprint}) with the server's console, then: ssh-keyscan -p {place.port} {place.host} "
            ">> ~/.ssh/known_hosts"
        )
