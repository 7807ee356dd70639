"""A blob store in a folder of a local or NFS file system, by plain file I/O.

Writing: a temporary file in ``.tmp``, its fsync, a hard link to the final name (which fails if the name exists:
the create-if-absent), the folder's fsync. So a power cut leaves a blob whole or invisible, and at most a file
in ``.tmp``. Removing syncs the folder too: a manifest must not come back after the packs it needs have gone.

File systems without hard links get a rename instead; there two writers of one key can both believe that they created
it, which only the names of restore points could ever notice.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from vmkeep.blobs.store import BlobInfo, Bytes, check_key, check_prefix
from vmkeep.errors import BlobNotFoundError, ConflictError, StoreError, StoreFullError

_TEMPORARY = ".tmp"
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_TRIES = 5
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class LocalStore:
    """Blobs as files below one folder, which has to exist."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders: set[Path] = set()

    @property
    def location(self) -> str:
        """Path of the folder."""
        return str(self._root)

    def put(self, key: str, data: Bytes) -> bool:
        """Create a blob; see :meth:`BlobStore.put`."""
        path = self._path(key)
        with self._errors(key, len(data)):
            temporary = self._write_temporary(data)
            try:
                created = self._publish(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
            if not created and not _holds(path, data):
                raise ConflictError(f"{path}: exists with other content")
            sync_folder(path.parent)
        return created

    def replace(self, key: str, data: Bytes) -> None:
        """Create or overwrite a blob atomically."""
        path = self._path(key)
        with self._errors(key, len(data)):
            temporary = self._write_temporary(data)
            try:
                self._in_folder(path.parent, lambda: os.replace(temporary, path))  # noqa: PTH105
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            sync_folder(path.parent)

    def get(self, key: str) -> bytes:
        """Return a blob's bytes."""
        with self._errors(key):
            return self._path(key).read_bytes()

    def get_into(self, key: str, start: int, buffer: memoryview) -> int:
        """Fill ``buffer`` from byte ``start`` on; return how much there was."""
        with self._errors(key), _opened(self._path(key)) as file:
            done = 0
            while done < len(buffer):
                count = os.preadv(file, [buffer[done:]], start + done)
                if not count:
                    break
                done += count
            return done

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to ``length`` bytes from byte ``start`` on."""
        with self._errors(key), _opened(self._path(key)) as file:
            length = min(length, max(0, os.fstat(file).st_size - start))
            parts = []
            while length and (part := os.pread(file, length, start)):
                parts.append(part)
                start += len(part)
                length -= len(part)
            return b"".join(parts)

    def size(self, key: str) -> int:
        """Return a blob's size."""
        with self._errors(key):
            return self._path(key).stat().st_size

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
                    raise  # nobody may take a store that is gone for one that holds nothing
                return
        for name, entry in sorted(found, key=lambda pair: pair[0]):
            if name.startswith("."):
                continue
            if name.endswith("/"):
                yield from self._walk(prefix + name)
                continue
            with suppress(FileNotFoundError):  # deleted while we list
                status = entry.stat()
                modified = datetime.fromtimestamp(status.st_mtime, UTC)
                yield BlobInfo(key=prefix + name, size=status.st_size, modified=modified)

    def delete(self, key: str) -> None:
        """Remove a blob, and the folders it leaves empty below the first level; what is gone stays gone."""
        path = self._path(key)
        with self._errors(key):
            path.unlink(missing_ok=True)
            folder = path.parent
            while folder.parent != self._root and folder != self._root:
                try:
                    folder.rmdir()
                except OSError:
                    break
                self._folders.discard(folder)
                folder = folder.parent
            with suppress(FileNotFoundError):  # nothing was ever there, or another process took the folder
                sync_folder(folder)

    def local_path(self, key: str) -> Path | None:
        """Return the blob's file."""
        return self._path(key)

    def check_writable(self) -> None:
        """Create and remove a temporary file."""
        with self._errors(""):
            self._write_temporary(b"").unlink()

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    def _write_temporary(self, data: Bytes) -> Path:
        folder = self._root / _TEMPORARY
        folder.mkdir(exist_ok=True)
        path = folder / secrets.token_hex(16)
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

    def _publish(self, temporary: Path, path: Path) -> bool:
        """Give the temporary file its name, unless that is taken; return whether it was free."""
        try:
            self._in_folder(path.parent, lambda: os.link(temporary, path))
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if path.exists():
                return False
            os.rename(temporary, path)  # noqa: PTH104
        return True

    def _in_folder(self, folder: Path, name: Callable[[], None]) -> None:
        """Create a name in a folder that another process may remove, because it was empty, at any time."""
        for _ in range(_TRIES):
            try:
                self._make_folder(folder)
                return name()
            except FileNotFoundError:
                if not self._root.is_dir():
                    raise
                self._folders.discard(folder)
        raise StoreError(f"{folder}: disappears as often as it is created")

    def _make_folder(self, folder: Path) -> None:
        """Create a folder durably: each new level's name has to reach the disk too."""
        if folder in self._folders:
            if folder.is_dir():
                return
            self._folders.discard(folder)
        if folder != self._root:
            self._make_folder(folder.parent)
            with suppress(FileExistsError):
                folder.mkdir()
            sync_folder(folder.parent)
        self._folders.add(folder)

    @contextmanager
    def _errors(self, key: str, needed: int = 0) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if not self._root.is_dir():
                raise StoreError(f"{self._root}: the folder is gone") from error
            raise BlobNotFoundError(f"{self._root / key}: no such blob") from error
        except OSError as error:
            if error.errno in _FULL:
                raise StoreFullError(
                    f"{self._root}: no space left for {key} ({needed} bytes more are needed): {error.strerror}"
                ) from error
            raise StoreError(f"{self._root / key}: {error.strerror or error}") from error


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)


def _holds(path: Path, data: Bytes) -> bool:
    """Whether the file has these bytes, read a little at a time."""
    view = memoryview(data)
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size != len(view):
            return False
        at = 0
        while part := file.read(1 << 20):
            if not part.startswith(view[at : at + len(part)]):
                return False
            at += len(part)
    return at == len(view)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder reach the disk."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
