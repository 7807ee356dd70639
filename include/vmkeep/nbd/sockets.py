"""The sockets on which a server waits for clients: a file of this user alone, or a port."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from vmkeep.errors import ConflictError, UsageError

_LONGEST_PATH: Final = 107
"""Bytes of the longest path that Linux takes for a socket."""
_BACKLOG: Final = 64
_LOCK_SECONDS: Final = 10.0
"""How long to wait for another server that opens a socket in the same folder."""


@contextmanager
def listening_on_file(path: Path) -> Iterator[socket.socket]:
    """Listen on a socket file that only this user may open. The file is removed at the end.

    A file that a dead server left is replaced.

    :raises ConflictError: a server is alive on it, or it is another file.
    :raises UsageError: the path is too long, or its folder cannot be written.
    """
    path = path.absolute()
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise UsageError(f"--socket {path}: a socket's path has {_LONGEST_PATH} bytes at most: choose a shorter one")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        os.fchmod(listener.fileno(), 0o600)  # the mode that the file gets, so that it is never open to others
        try:
            with _alone_in(path.parent):
                _remove_stale(path)
                listener.bind(str(path))
                made = path.lstat().st_ino
                listener.listen(_BACKLOG)
        except OSError as error:
            raise UsageError(f"--socket {path}: {error.strerror or error}") from error
        try:
            yield listener
        finally:
            with suppress(OSError), _alone_in(path.parent):
                if path.lstat().st_ino == made:
                    path.unlink()


@contextmanager
def listening_on_port(address: str, port: int, *, secured: bool) -> Iterator[socket.socket]:
    """Listen on a port.

    :param port: 0: any free one.
    :param secured: clients have to prove that they know a key.
    :raises UsageError: the address is not this machine's, or others could connect to it without a key.
    :raises ConflictError: the port is taken.
    """
    where = f"--listen {address}, port {port}"
    try:
        family, kind, protocol, _, bound = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise UsageError(f"{where}: is no address of this machine: {error}") from error
    if not secured and not ip_address(str(bound[0]).partition("%")[0]).is_loopback:
        raise UsageError(
            f"{where}: anyone who reaches this address could read the disks: give --psk-file, or leave out --listen"
        )
    with socket.socket(family, kind, protocol) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(bound)
            listener.listen(_BACKLOG)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ConflictError(f"{where}: another program listens there: choose another port") from error
            raise UsageError(f"{where}: {error.strerror or error}") from error
        yield listener


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other servers that look for stale sockets in a folder waiting."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        end = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)
        yield
    finally:
        os.close(handle)


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConflictError(f"--socket {path}: there is a file that is no socket: choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a server whose queue is full answers EAGAIN, so it is alive
        refused = probe.connect_ex(str(path))
    if refused != errno.ECONNREFUSED:
        raise ConflictError(f"--socket {path}: another server is alive there: end it, or choose another path")
    path.unlink()
