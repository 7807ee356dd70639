"""A blob store in a folder of a local or NFS file system, by plain file I/O.

To create a blob, the store writes a temporary file in ``.tmp`` and syncs it. It then gives the file its final name,
which fails if the name exists (:mod:`~vmkeep.blobs.naming`), and syncs the folders that lead there. So after a power
cut a blob is whole or not there, and at most a file in ``.tmp`` is left. A removal syncs the folder, too, because a
manifest must not come back after its packs are deleted.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from vmkeep.blobs.files import NO_FILE, holds, no_file, opened, read_whole, require_file, require_links, sync_folder
from vmkeep.blobs.naming import is_atomic, name_if_free
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
    room_needed,
)
from vmkeep.errors import (
    BlobNotFoundError,
    ConflictError,
    PermissionDeniedError,
    RepositoryError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
)

log = logging.getLogger(__name__)
T = TypeVar("T")

_TRIES = 5
"""Number of attempts while other processes remove the same folders or files."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DENIED = (errno.EACCES, errno.EPERM)


class LocalStore:
    """A store of blobs as files below one folder, which has to exist."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lasting: set[Path] = set()
        """Folders of the first level whose names are on disk. No store removes such folders."""

    @property
    def location(self) -> str:
        """The path of the folder."""
        return str(self._root)

    def create_folder(self) -> None:
        """Create the store's folder if it is missing. The folder above it has to exist."""
        with self._errors(""):
            self._root.mkdir(exist_ok=True)
            sync_folder(self._root.parent)

    def put(self, key: str, data: Bytes) -> bool:
        """Create a blob; see :meth:`BlobStore.put`."""
        path = self._path(key)
        with self._errors(key, len(data)):
            created = self._create(path, data)
            self._sync_names(path.parent)
        return created

    def _create(self, path: Path, data: Bytes) -> bool:
        """Return whether the blob was created; ``False``: it is there with the same bytes.

        Try again if the other blob disappears, because another process may delete it at any time.
        """
        for _ in range(_TRIES):
            if self._write(path, data, name_if_free):
                return True
            with suppress(FileNotFoundError):
                if not holds(path, data):
                    raise ConflictError(f"{path}: exists with other content")
                return False
        raise StoreError(f"{path}: appears and disappears again and again; nothing was stored")

    def replace(self, key: str, data: Bytes) -> None:
        """Create or overwrite a blob atomically."""
        path = self._path(key)
        with self._errors(key, len(data)):
            self._write(path, data, os.replace)
            self._sync_names(path.parent)

    def get(self, key: str) -> bytes:
        """Return a blob's bytes."""
        with self._errors(key):
            return read_whole(self._path(key))

    def get_into(self, key: str, start: int, buffer: memoryview) -> int:
        """Fill ``buffer`` from byte ``start`` on; return the number of bytes."""
        with self._errors(key), opened(self._path(key)) as file:
            done = 0
            while done < len(buffer):
                count = os.preadv(file, [buffer[done:]], start + done)
                if not count:
                    break
                done += count
            return done

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to ``length`` bytes from byte ``start`` on."""
        with self._errors(key), opened(self._path(key)) as file:
            length = min(length, max(0, os.fstat(file).st_size - start))
            parts = []
            while length and (part := os.pread(file, length, start)):
                parts.append(part)
                start += len(part)
                length -= len(part)
            return b"".join(parts)

    def size(self, key: str) -> int:
        """Return a blob's size in bytes."""
        with self._errors(key):
            status = self._path(key).stat()
            require_file(self._path(key), status)
            return status.st_size

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Yield the blobs below ``prefix``, sorted by key."""
        check_prefix(prefix)
        yield from self._walk(prefix)

    def _walk(self, prefix: str) -> Iterator[BlobInfo]:
        with self._errors(prefix):
            try:
                with os.scandir(self._root / prefix) as entries:
                    found = [(entry.name + "/" if entry.is_dir() else entry.name, entry) for entry in entries]
            except (FileNotFoundError, NotADirectoryError):
                if not self._root.is_dir():
                    raise  # a store that is gone must not look like an empty one
                require_links(self._root, prefix)
                return
        for name, entry in sorted(found, key=lambda pair: pair[0]):
            if name.startswith("."):
                continue
            if name.endswith("/"):
                if entry.is_symlink() and self._leads_back(prefix + entry.name):
                    log.warning(
                        "%s: leads back to a folder above it, so it is left out", self._root / prefix / entry.name
                    )
                else:
                    yield from self._walk(prefix + name)
                continue
            try:
                status = entry.stat()
            except FileNotFoundError:
                require_links(self._root, prefix + name)
                continue  # the blob was deleted during the listing
            modified = datetime.fromtimestamp(status.st_mtime, UTC)
            yield BlobInfo(key=prefix + name, size=status.st_size, modified=modified)

    def _leads_back(self, link: str) -> bool:
        """Return whether a link leads to a folder above itself, so that a walk through it would not end."""
        path = (self._root / link).absolute()
        with suppress(FileNotFoundError):  # the link was deleted during the listing
            target = path.stat()
            return any(os.path.samestat(target, above.stat()) for above in path.parents)
        return True

    def delete(self, key: str) -> None:
        """Remove a blob, and the folders below the first level that are empty then. The removal is durable."""
        path = self._path(key)
        with self._errors(key):
            path.unlink(missing_ok=True)
            folder = path.parent
            while folder.parent != self._root and folder != self._root:
                try:
                    folder.rmdir()
                except OSError:
                    break
                folder = folder.parent
            with suppress(FileNotFoundError):  # the folder never existed, or another process removed it
                sync_folder(folder)

    def local_path(self, key: str) -> Path | None:
        """Return the blob's file."""
        return self._path(key)

    def check_writable(self) -> None:
        """Create and remove a temporary file."""
        with self._errors(""):
            self._write_temporary(b"").unlink(missing_ok=True)

    def check_creates(self) -> None:
        """Return if exactly one of several creators of a blob succeeds, even on different machines.

        :raises RepositoryError: this file system does not promise that.
        """
        with self._errors(""):
            if not is_atomic(self._temporaries()):
                raise RepositoryError(
                    f"{self._root}: nothing can be deleted safely there, because the file system has neither hard "
                    "links nor renames that keep an existing file, so two processes may both create one blob; copy "
                    "the repository to another one (ext4, XFS, NFS, SMB, or FAT by the kernel's own driver)"
                )

    def reserved(self) -> int:
        """Return how many bytes are held back; see :class:`~vmkeep.blobs.reserve.Reserve`."""
        path = self._root / RESERVE
        with self._errors(RESERVE), suppress(FileNotFoundError):
            status = path.stat()
            require_file(path, status)
            return status.st_size
        return 0

    def is_spent_lately(self, within: timedelta) -> bool:
        """Return whether an empty file stands in the place of the reserve, and is young."""
        with self._errors(RESERVE), suppress(FileNotFoundError):
            found = (self._root / RESERVE).stat()
            return not found.st_size and abs(self._time() - found.st_mtime) < within.total_seconds()
        return False

    def hold_reserve(self, size: int) -> None:
        """Hold room back."""
        if self.reserved() < size:
            with self._errors(RESERVE, size):
                self._write(self._root / RESERVE, secrets.token_bytes(size), os.replace)

    def spend_reserve(self) -> int:
        """Free the space that is held back; return its bytes. Of several callers at once, one gets it."""
        path, taken = self._root / RESERVE, self._root / TAKEN_RESERVE
        with self._errors(RESERVE), suppress(FileNotFoundError):
            if self.reserved():
                self._temporaries()
                with suppress(FileNotFoundError):
                    path.rename(taken)
            size = taken.stat().st_size
            taken.unlink()
            with suppress(OSError):  # without the empty file, a writer may hold the room back too early
                self._write(path, b"", os.replace)
            return size
        return 0

    def space(self) -> Space:
        """Return the room of the folder's file system."""
        with self._errors(""):
            found = os.statvfs(self._root)
        return Space(free=found.f_bavail * found.f_frsize, capacity=found.f_blocks * found.f_frsize)

    def top_names(self) -> set[str]:
        """Return every name in the folder."""
        with self._errors(""):
            return {path.name for path in self._root.iterdir()}

    def remove_leftovers(self, *, left_for: timedelta) -> int:
        """Remove temporary files that were last written ``left_for`` ago, by the store's clock; return their number.

        If such a file belongs to a process that is alive after all, that process writes it again.
        """
        removed = 0
        with self._errors(""):
            before = self._time() - left_for.total_seconds()
            for file in self._temporaries().iterdir():
                with suppress(FileNotFoundError):
                    if is_temporary(file.name) and file.stat().st_mtime <= before:
                        file.unlink()
                        removed += 1
        return removed

    def _time(self) -> float:
        """Return the time by the store's clock, in seconds since 1970."""
        for _ in range(_TRIES):
            probe = self._write_temporary(b"")
            with suppress(FileNotFoundError):  # another process removed the file as that of a dead process
                try:
                    return probe.stat().st_mtime
                finally:
                    probe.unlink(missing_ok=True)
        raise StoreError(f"{self._root}: temporary files disappear as soon as they are written")

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    def _temporaries(self) -> Path:
        """Return the folder for temporary files. It is on the same file system as the blobs."""
        folder = self._root / TEMPORARY
        folder.mkdir(exist_ok=True)
        return folder

    def _write_temporary(self, data: Bytes) -> Path:
        path = self._temporaries() / secrets.token_hex(16)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            view = memoryview(data)
            done = 0
            while done < len(view):
                done += os.write(file, view[done:])
            os.fsync(file)
        except BaseException:
            with suppress(OSError):
                path.unlink()
            raise
        finally:
            os.close(file)
        return path

    def _write(self, path: Path, data: Bytes, name: Callable[[Path, Path], T]) -> T:
        """Write a temporary file and let ``name`` give it its final name; return the result of ``name``.

        Try again if something is missing, because another process may remove a folder that is empty, or a temporary
        file that it takes for that of a dead process.
        """
        for _ in range(_TRIES):
            temporary = self._write_temporary(data)
            try:
                self._make_folder(path.parent)
                return name(temporary, path)
            except FileNotFoundError:
                if not self._root.is_dir():
                    raise
            finally:
                temporary.unlink(missing_ok=True)
        raise StoreError(f"{path.parent}: disappears as often as it is created")

    def _make_folder(self, folder: Path) -> None:
        if folder != self._root:
            self._make_folder(folder.parent)
            with suppress(FileExistsError):
                folder.mkdir()

    def _sync_names(self, folder: Path) -> None:
        """Sync the name of a new blob and the names of the folders above it.

        This happens for each blob, because another process may have removed the folders and created them again without
        syncing them yet. It happens after the blob got its name, because only empty folders are removed. If a folder is
        gone all the same, another process has deleted the blob by now, and no name of it has to last.
        """
        try:
            sync_folder(folder)
            while folder != self._root and folder not in self._lasting:
                above = folder.parent
                sync_folder(above)
                if above == self._root:
                    self._lasting.add(folder)
                folder = above
        except FileNotFoundError:
            if not self._root.is_dir():
                raise

    @contextmanager
    def _errors(self, key: str, needed: int = 0) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if not self._root.is_dir():
                raise StoreError(f"{self._root}: the folder is gone") from error
            require_links(self._root, key)
            raise BlobNotFoundError(f"{self._root / key}: no such blob") from error
        except OSError as error:
            if error.errno in _FULL:
                raise StoreFullError(
                    f"{self._root}: no space left for {key} ({room_needed(needed)}): {error.strerror}"
                ) from error
            if error.errno == errno.EROFS:
                raise StoreReadOnlyError(
                    f"{error.filename or self._root / key}: nothing can be written below {self._root}, because its "
                    "file system is mounted read-only: mount it writable; if nobody has mounted it so, the kernel did "
                    "after an error of the disk (dmesg tells of it), and the file system has to be checked first"
                ) from error
            if error.errno in _DENIED:
                raise PermissionDeniedError(
                    f"{error.filename or self._root / key}: {error.strerror}; let the user of this process "
                    f"(number {os.geteuid()}) read and write everything below {self._root}",
                    target=key,
                ) from error
            if not key.endswith("/") and error.errno in NO_FILE:
                raise no_file(self._root / key) from error
            raise StoreError(f"{self._root / key}: {error.strerror or error}") from error
