"""A blob store in a folder of an SSH server, through SFTP.

To create a blob, the store writes a temporary file in ``.tmp`` and syncs it (``fsync@openssh.com``). A hard link then
gives it its final name (``hardlink@openssh.com``). The link fails if the name is taken, so one of many writers wins. If
the server or its file system has no hard links, the store looks for the name and then uses SFTP's plain rename. That
may replace another file, so maintenance deletes nothing in such a place (:meth:`SftpStore.check_creates`). ``replace``
uses ``posix-rename@openssh.com``. Folders cannot be synced over SFTP. So after a power cut of the server, its newest
files may be missing, but no file is there in part.
"""

from __future__ import annotations

import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import paramiko

from vmkeep.blobs.ssh.sftperrors import failure
from vmkeep.blobs.ssh.sftpio import FileSystem, file_system, holds, read_file, write_synced
from vmkeep.blobs.ssh.sftplists import require_links, walk
from vmkeep.blobs.ssh.sftpnames import exists, link, name_if_free
from vmkeep.blobs.ssh.sshaccess import SshAccess
from vmkeep.blobs.store import (
    RESERVE,
    TAKEN_RESERVE,
    TEMPORARY,
    BlobInfo,
    Bytes,
    Space,
    check_key,
    check_prefix,
    is_temporary,
)
from vmkeep.errors import ConflictError, RepositoryError, StoreError

T = TypeVar("T")


class SftpStore:
    """A store of blobs as files below one folder of an SSH server. The folder has to exist."""

    def __init__(self, access: SshAccess) -> None:
        self._access = access
        self._root = PurePosixPath(access.place.path)
        self._folders: set[PurePosixPath] = set()

    @property
    def location(self) -> str:
        """The location as the user gave it."""
        return self._access.place.text

    def put(self, key: str, data: Bytes) -> bool:
        """Create a blob; see :meth:`BlobStore.put`."""
        path = self._path(key)
        with self._channel(key, writing=len(data)) as channel:
            if self._write(channel, path, data, name_if_free):
                return True
            try:
                same = holds(channel, str(path), memoryview(data))
            except FileNotFoundError as error:
                raise StoreError(f"{self._name(key)}: another write was in the way; nothing was stored") from error
            if not same:
                raise ConflictError(f"{self._name(key)}: exists with other content")
            return False

    def replace(self, key: str, data: Bytes) -> None:
        """Create or overwrite a blob atomically."""
        path = self._path(key)
        with self._channel(key, writing=len(data)) as channel:
            self._write(channel, path, data, _replace)

    def _write(self, channel: Any, path: PurePosixPath, data: Bytes, name: Callable[[Any, str, str], T]) -> T:
        """Write a temporary file and let ``name`` give it its final name; return the result of ``name``.

        Try once more if a known folder is gone; or the file, which another process may take for that of a dead process.
        """
        try:
            return self._write_once(channel, path, data, name)
        except FileNotFoundError:
            self._folders.clear()
            return self._write_once(channel, path, data, name)

    def _write_once(self, channel: Any, path: PurePosixPath, data: Bytes, name: Callable[[Any, str, str], T]) -> T:
        temporary = self._write_temporary(channel, data)
        try:
            self._make_folder(channel, path.parent)
            return name(channel, str(temporary), str(path))
        except BaseException:
            self._folders.clear()
            raise
        finally:
            with suppress(OSError, paramiko.SSHException, EOFError):
                channel.remove(str(temporary))

    def get(self, key: str) -> bytes:
        """Return a blob's bytes."""
        return self._read(key, 0, None)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to ``length`` bytes from byte ``start`` on."""
        return self._read(key, start, length)

    def get_into(self, key: str, start: int, buffer: memoryview) -> int:
        """Fill ``buffer`` from byte ``start`` on; return the number of bytes."""
        part = self._read(key, start, len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def _read(self, key: str, start: int, length: int | None) -> bytes:
        with self._channel(key) as channel, self._links_required(channel, key):
            return read_file(channel, str(self._path(key)), start, length)

    def size(self, key: str) -> int:
        """Return a blob's size in bytes."""
        with self._channel(key) as channel, self._links_required(channel, key):
            return int(channel.stat(str(self._path(key))).st_size)

    @contextmanager
    def _links_required(self, channel: Any, key: str) -> Iterator[None]:
        """Take nothing for deleted that is behind a link to a disk that is not mounted."""
        try:
            yield
        except FileNotFoundError:
            require_links(channel, self._root, key)
            raise

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Yield the blobs below ``prefix``, sorted by key."""
        check_prefix(prefix)
        with self._channel("") as channel:
            channel.stat(str(self._root))
            found = list(walk(channel, self._root, prefix))
        yield from found

    def delete(self, key: str) -> None:
        """Remove a blob; its folder stays."""
        with self._channel(key, writing=0) as channel, suppress(FileNotFoundError):
            channel.remove(str(self._path(key)))

    def local_path(self, key: str) -> Path | None:
        """Return ``None``, because the file is on another machine."""
        check_key(key)
        return None

    def check_writable(self) -> None:
        """Create and remove a temporary file."""
        with self._channel("", writing=0) as channel:
            channel.remove(str(self._write_temporary(channel, b"")))

    def check_creates(self) -> None:
        """Return if exactly one of several creators of a blob succeeds.

        :raises RepositoryError: the server does not promise that.
        """
        with self._channel("", writing=0) as channel:
            taken = self._write_temporary(channel, b"")
            other = taken.with_name(secrets.token_hex(16))
            try:
                link(channel, str(taken), str(other))
            except FileNotFoundError:
                raise
            except OSError as error:
                raise RepositoryError(
                    f"{self.location}: nothing can be deleted safely there, because the server makes no hard links "
                    f"({error.strerror or error}), so two processes may both create one blob; copy the repository "
                    "to a server with OpenSSH and a file system that has hard links (ext4, XFS)"
                ) from error
            finally:
                for file in (taken, other):
                    with suppress(OSError, paramiko.SSHException, EOFError):
                        channel.remove(str(file))

    def reserved(self) -> int:
        """Return how many bytes are held back; see :class:`~vmkeep.blobs.reserve.Reserve`."""
        with self._channel(RESERVE) as channel, suppress(FileNotFoundError):
            return _held(channel.stat(str(self._root / RESERVE)))
        return 0

    def is_spent_lately(self, within: timedelta) -> bool:
        """Return whether an empty file stands in the place of the reserve, and is young."""
        with self._channel(RESERVE, writing=0) as channel, suppress(FileNotFoundError):
            found = channel.stat(str(self._root / RESERVE))
            if stat.S_ISREG(found.st_mode) and not found.st_size:
                return bool(abs(self._time(channel) - found.st_mtime) < within.total_seconds())
        return False

    def _time(self, channel: Any) -> float:
        """Return the time by the server's clock, in seconds since 1970."""
        probe = self._write_temporary(channel, b"")
        try:
            return float(channel.stat(str(probe)).st_mtime)
        finally:
            channel.remove(str(probe))

    def hold_reserve(self, size: int) -> None:
        """Hold room back."""
        if self.reserved() < size:
            with self._channel(RESERVE, writing=size) as channel:
                self._write(channel, self._root / RESERVE, secrets.token_bytes(size), _replace)

    def spend_reserve(self) -> int:
        """Free the space that is held back; return its bytes. Of several callers at once, one gets it."""
        path, taken = self._root / RESERVE, self._root / TAKEN_RESERVE
        held = self.reserved()
        with self._channel(RESERVE, writing=0) as channel, suppress(FileNotFoundError):
            if held:
                self._make_folder(channel, taken.parent)
                with suppress(FileNotFoundError):
                    _replace(channel, str(path), str(taken))
            size = _held(channel.stat(str(taken)))
            channel.remove(str(taken))
            with suppress(OSError):  # without the empty file, a writer may hold the room back too early
                self._write(channel, path, b"", _replace)
            return size
        return 0

    def space(self) -> Space | None:
        """Return the room on the server; ``None``: it does not tell it."""
        with self._channel("") as channel:
            found = file_system(channel, str(self._root))
        return None if found is None else Space(free=found.free, capacity=None)

    def top_names(self) -> set[str]:
        """Return every name in the folder."""
        with self._channel("") as channel:
            return set(channel.listdir(str(self._root)))

    def remove_leftovers(self, *, left_for: timedelta) -> int:
        """Remove temporary files that were last written ``left_for`` ago, by the server's clock; return their number.

        If such a file belongs to a process that is alive after all, that process writes it again.
        """
        removed = 0
        with self._channel("", writing=0) as channel:
            before = self._time(channel) - left_for.total_seconds()
            folder = self._root / TEMPORARY
            for entry in channel.listdir_attr(str(folder)):
                if is_temporary(entry.filename) and entry.st_mtime <= before:
                    with suppress(FileNotFoundError):
                        channel.remove(str(folder / entry.filename))
                        removed += 1
        return removed

    def check_folder(self, *, create: bool) -> None:
        """Return if the folder is there.

        :param create: whether to create the folder if it is missing; the folder above it has to exist.
        :raises RepositoryError: the folder is missing or is no folder, or the one above it is missing.
        """
        with self._channel("", writing=0 if create else None) as channel:
            if create and not exists(channel, str(self._root)):
                if not exists(channel, str(self._root.parent)):
                    raise RepositoryError(f"{self.location}: no folder {self._root.parent} there; create it first")
                channel.mkdir(str(self._root))
            if not exists(channel, str(self._root)):
                raise RepositoryError(
                    f"{self.location}: no such folder; create a repository there with 'vmkeep repo init'"
                )
            if not stat.S_ISDIR(channel.stat(str(self._root)).st_mode):
                raise RepositoryError(f"{self.location}: is not a folder")

    def _path(self, key: str) -> PurePosixPath:
        return self._root / check_key(key)

    def _name(self, key: str) -> str:
        return f"{self.location.rstrip('/')}/{key}".rstrip("/")

    def _write_temporary(self, channel: Any, data: Bytes) -> PurePosixPath:
        self._make_folder(channel, self._root / TEMPORARY)
        path = self._root / TEMPORARY / secrets.token_hex(16)
        try:
            with channel.open(str(path), "wxb") as file:
                write_synced(channel, file.handle, memoryview(data))
        except BaseException:
            self._folders.clear()
            with suppress(OSError, paramiko.SSHException, EOFError):
                channel.remove(str(path))
            raise
        return path

    def _make_folder(self, channel: Any, folder: PurePosixPath) -> None:
        if folder == self._root or folder in self._folders:
            return
        self._make_folder(channel, folder.parent)
        try:
            channel.mkdir(str(folder))
        except OSError:
            if not exists(channel, str(folder)):
                raise
        self._folders.add(folder)

    @contextmanager
    def _channel(self, key: str, *, writing: int | None = None) -> Iterator[Any]:
        """Lend a channel, and translate the errors on it.

        :param writing: number of bytes that the caller is about to write, 0 also for a removal; ``None``: it changes
            nothing.
        """
        try:
            with self._access.channel() as channel:
                yield channel
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise failure(
                error, where=self.location, key=key, name=self._name(key), writing=writing, ask=self._file_system
            ) from error

    def _file_system(self) -> FileSystem | None:
        """Return the state of the folder's file system, or of that above a missing folder."""
        with suppress(OSError, EOFError, paramiko.SSHException, StoreError), self._access.channel() as channel:
            return file_system(channel, str(self._root)) or file_system(channel, str(self._root.parent))
        return None

    def close(self) -> None:
        """Close the connection. Later calls open a new one."""
        self._access.close()


def _replace(channel: Any, old: str, new: str) -> None:
    channel.posix_rename(old, new)


def _held(found: Any) -> int:
    """Return the bytes of a file that holds room back; 0 for a folder in its place, which holds none."""
    return 0 if stat.S_ISDIR(found.st_mode) else int(found.st_size)
