"""Access to a folder behind SSH: location, host key, login, channels. This module knows no blob keys.

The login uses only keys, from the agent or ``~/.ssh``. A host that is not in ``known_hosts`` is refused before the user
name or anything else is sent. Nothing here ever asks a person.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import paramiko

from vmkeep.errors import AuthenticationError, CertificateError, StoreError, UsageError, VmKeepError
from vmkeep.lateclass import dataclass

_SFTP = re.compile(r"sftp://(?P<user>[^@/:]+)@(?P<host>[A-Za-z0-9._-]+)(?::(?P<port>\d{1,5}))?(?P<path>/.*)")
_SCP = re.compile(r"scp://(?P<user>[^@/:]+)@(?P<host>[A-Za-z0-9._-]+):(?P<path>.+)")
_PATIENCE = 15.0
"""Seconds for each step of a login, and between two signs of life on an idle connection."""
_SILENCE = 60.0
"""Seconds without an answer after which a request fails."""
_CHANNELS = 6
"""Number of channels over one connection. OpenSSH allows ten by default."""
_WINDOW = 8 << 20
"""Bytes that the server may send before paramiko has taken them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SshLocation:
    """The parts of ``sftp://user@host[:port]/path`` or ``scp://user@host:path``."""

    text: str
    user: str
    host: str
    port: int
    path: str
    """The path without a slash at its end. If it does not begin with a slash, it begins at the user's home folder."""


def parse_location(location: str) -> SshLocation:
    """Parse a location. Both forms use SFTP. Only ``sftp:`` can name a port; only ``scp:`` can begin at a home folder.

    :raises UsageError: the text has neither form.
    """
    match = _SFTP.fullmatch(location) or _SCP.fullmatch(location)
    path = match["path"].rstrip("/") if match else ""
    if match is None or not path:
        raise UsageError(f"{location}: write sftp://user@host[:port]/path or scp://user@host:path; no password in it")
    port = int(match.groupdict().get("port") or 22)
    return SshLocation(text=location, user=match["user"], host=match["host"], port=port, path=path)


class SshAccess:
    """One connection with a few SFTP channels. It is opened when it is needed, and again when it is lost."""

    def __init__(self, place: SshLocation) -> None:
        self.place = place
        self._client: paramiko.SSHClient | None = None
        self._idle: list[Any] = []
        self._slots = threading.BoundedSemaphore(_CHANNELS)
        self._lock = threading.Lock()

    @contextmanager
    def channel(self) -> Iterator[Any]:
        """Lend a :class:`paramiko.SFTPClient` to one thread. A channel that failed is not lent again.

        :raises StoreError: the server cannot be reached.
        :raises CertificateError: the host key is not known, or is not the known one.
        :raises AuthenticationError: the server accepts none of the user's keys.
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
            client = self._client
        return self._open(client)

    def _open(self, client: paramiko.SSHClient) -> Any:
        """Open a channel. A server that does not answer loses the connection, and whoever waits for it is told.

        paramiko would wait for an hour, and for a part of the answer without an end.
        """
        silent = threading.Event()

        def give_up() -> None:
            silent.set()
            client.close()

        alarm = threading.Timer(_SILENCE, give_up)
        alarm.daemon = True
        alarm.start()
        try:
            transport = client.get_transport()
            if transport is None:
                raise EOFError("the connection was closed")
            channel = transport.open_session(window_size=_WINDOW)
            channel.settimeout(_SILENCE)
            channel.invoke_subsystem("sftp")
            return paramiko.SFTPClient(channel)
        except (paramiko.SSHException, OSError, EOFError) as error:
            why = silence() if silent.is_set() else error
            raise StoreError(f"{self.place.text}: the server opens no SFTP channel: {why}") from error
        finally:
            alarm.cancel()

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
        """Close the connection."""
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client, self._idle = None, []


def silence() -> str:
    """Return the words for a server that does not answer any more."""
    return f"it has not answered for {_SILENCE:g} seconds"


def _is_alive(client: paramiko.SSHClient) -> bool:
    transport = client.get_transport()
    return transport is not None and transport.is_active()


def _reason(error: Exception) -> str:
    """Return the operating system's words for an error. paramiko hides them in an error for each address."""
    if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
        return ", ".join(sorted({_reason(each) for each in error.errors.values()}))
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _asks_who_we_are(client: paramiko.SSHClient) -> bool:
    """Return whether the server is there, has shown its host key, and waits for the login."""
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
    """The policy that refuses an unknown host and says how to make it known."""

    def __init__(self, place: SshLocation) -> None:
        self._place = place

    def missing_host_key(self, client: object, hostname: str, key: Any) -> None:
        """Refuse the host."""
        place = self._place
        raise CertificateError(
            f"{place.text}: host {place.host} is not in ~/.ssh/known_hosts; compare its key ({key.get_name()} "
            f"{key.fingerprint}) with the server's console, then: ssh-keyscan -p {place.port} {place.host} "
            ">> ~/.ssh/known_hosts"
        )
