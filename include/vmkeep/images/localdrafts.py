"""Exports into a folder of this machine.

A draft is a hidden folder in that folder. The files in it have their final names, so that readers of formats with
several files find them. Its *note* tells which process writes it, and is locked as long as the process lives.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from vmkeep.clock import now
from vmkeep.errors import ConflictError, NotFoundError, StoreFullError, TransferError, UsageError, VmKeepError
from vmkeep.images.diskfiles import remove_abandoned
from vmkeep.images.localnames import Naming, older_files, plan_naming, unused
from vmkeep.images.partsinks import PartSink
from vmkeep.images.processes import boot
from vmkeep.model.exports import MANIFEST, WrittenFile

_DRAFT = ".vmkeep-{}.partial"
_NOTE = ".note"
_LONGEST_NOTE = 16 << 20
_ABANDONED_AFTER = 86400.0
"""Seconds without a write, after which a draft of another machine counts as abandoned."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class LocalPlace:
    """A folder that takes exports."""

    largest = None

    def __init__(self, folder: Path) -> None:
        """:raises NotFoundError: there is no such folder."""
        try:
            if not folder.is_dir():
                raise NotFoundError(f"{folder}: no such folder; create it first")
        except (OSError, ValueError) as error:
            raise UsageError(f"{folder}: cannot be a folder: {error}") from error
        self._folder = folder

    @property
    def location(self) -> str:
        """The folder's path."""
        return str(self._folder)

    def free(self) -> int | None:
        """Return the bytes that this user may still write."""
        try:
            status = os.statvfs(self._folder)
        except OSError:
            return None
        return status.f_bavail * status.f_frsize

    def taken(self, names: Iterable[str]) -> list[str]:
        """Return those of some names that exist."""
        return [name for name in names if os.path.lexists(self._folder / name)]

    def clean(self) -> None:
        """Remove what dead exports left; see :meth:`vmkeep.images.drafts.ExportPlace.clean`."""
        remove_abandoned(self._folder.glob(_DRAFT.format("*")))
        _living(self._folder)

    def read(self, name: str, most: int) -> bytes | None:
        """Return the content of a small file; see :meth:`vmkeep.images.drafts.ExportPlace.read`."""
        path = self._folder / name
        try:
            if not path.is_file():  # a pipe would make us wait
                return None
            with path.open("rb") as file:
                content = file.read(most + 1)
        except PermissionError:
            return None
        except OSError as error:
            raise TransferError(f"{path}: cannot be read: {error.strerror}") from error
        return content if len(content) <= most else None

    @contextmanager
    def draft(self, name: str, *, overwrite: bool) -> Iterator[LocalDraft]:
        """Open a draft; see :meth:`vmkeep.images.drafts.ExportPlace.draft`. Remove what dead exports left first."""
        self.clean()
        if overwrite:
            with unused(self._folder, older_files(self._folder, f"{name}{MANIFEST}")):
                pass  # to know it before hours of work; it is looked at again when the files get their names
        hidden = self._folder / _DRAFT.format(secrets.token_hex(8))
        try:
            hidden.mkdir(0o700)
            note = _write_note(hidden, name)
        except OSError as error:
            shutil.rmtree(hidden, ignore_errors=True)
            raise _unwritable(self._folder, error) from error
        draft = LocalDraft(self._folder, hidden, note, overwrite=overwrite)
        try:
            # Its own note is written before it looks for others', so that of two that begin at once one sees the other.
            if name in _living(self._folder, but=hidden):
                raise ConflictError(f"{self._folder}: another process is exporting {name!r} into it; wait for its end")
            yield draft
        finally:
            draft.close()
            if draft.all_back:
                shutil.rmtree(hidden, ignore_errors=True)
            os.close(note)


class LocalDraft:
    """The files of an export into a folder."""

    def __init__(self, target: Path, hidden: Path, note: int, *, overwrite: bool) -> None:
        self._target = target
        self._hidden = hidden
        self._note = note
        self._overwrite = overwrite
        self._files: dict[str, LocalSink] = {}
        self._sinks: dict[str, LocalSink | PartSink] = {}
        self._threads = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="export")
        self._lock = threading.Lock()
        self.all_back = True
        """Whether no file of an older export lies in the hidden folder because its name was taken meanwhile."""

    @property
    def folder(self) -> Path:
        """The hidden folder with the files."""
        return self._hidden

    def create(self, name: str, *, size: int, known: bool = True) -> LocalSink | PartSink:
        """Create a file. One of unknown size is written in order, and so in parts."""
        file = LocalSink(self._hidden / name, size=size if known else None)
        with self._lock:
            self._files[name] = file
            sink = self._sinks[name] = file if known else PartSink(file, size=size, threads=self._threads)
        return sink

    def complete(self) -> None:
        """Return at once, because the files can be read as they are."""

    def compare(self, name: str, chosen: Callable[[int, bytes], bool], on_compared: Callable[[int], None]) -> None:
        """Compare a file that was written in parts; any other is read as an image."""
        sink = self._sinks[name]
        if isinstance(sink, PartSink):
            sink.compare(chosen, on_compared)

    def files(self) -> list[WrittenFile]:
        """Return the files, in order of name."""
        return [
            WrittenFile(name=name, size=sink.size, sha256=sink.sha256) for name, sink in sorted(self._sinks.items())
        ]

    def publish(self, manifest: str, content: bytes) -> list[str]:
        """Name the files, the manifest last. If that is not possible, an older export is as it was."""
        try:
            _write_whole(self._hidden / manifest, content)
            names = [*sorted(self._sinks), manifest]
            naming = plan_naming(self._target, self._hidden, names, manifest, overwrite=self._overwrite)
            self._note_naming(naming)
            try:
                naming.name(self._target, self._hidden)
            except BaseException:
                self.all_back = naming.undo(self._target, self._hidden)
                raise
            self._note_naming(None)
        except OSError as error:
            raise _unwritable(self._target, error) from error
        return [name for name in naming.older if name not in naming.files]

    def close(self) -> None:
        """Close all files."""
        self._threads.shutdown(cancel_futures=True)
        for file in self._files.values():
            file.close()

    def _note_naming(self, naming: Naming | None) -> None:
        """Note which files are about to get names, so that the next export can undo it if this process dies.

        :param naming: ``None``: all files have their names, and there is nothing to undo any more.
        """
        note = json.loads(os.pread(self._note, _LONGEST_NOTE, 0)) | {"naming": naming and naming.encode()}
        content = json.dumps(note).encode()
        os.pwrite(self._note, content, 0)
        os.ftruncate(self._note, len(content))
        os.fsync(self._note)


class LocalSink:
    """A file of a draft. Any thread may write anywhere. It takes the parts of a :class:`PartSink`, too."""

    in_order = False
    sha256 = None

    def __init__(self, path: Path, *, size: int | None) -> None:
        """Create a sparse file.

        :param size: its size in bytes, to be refused at once where the file system cannot have such a file.
        """
        self._path = path
        self.size = 0
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL, 0o640)
            if size is not None:
                os.ftruncate(self._file, size)
        except OSError as error:
            raise _unwritable(path, error) from error

    def write_at(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write bytes; see :class:`vmkeep.model.sinks.Sink`."""
        view = memoryview(data)
        done = 0
        try:
            while done < len(view):
                done += os.pwrite(self._file, view[done:], offset + done)
        except OSError as error:
            raise _unwritable(self._path, error) from error

    @property
    def what(self) -> str:
        """The file's name in errors."""
        return self._path.name

    def send(self, number: int, start: int, content: bytearray) -> None:
        """Write a part."""
        del number
        self.write_at(start, content)

    def end(self, size: int) -> None:
        """Set the size, and wait until all is on disk."""
        self.finish(size)

    def read(self, start: int, length: int) -> bytes:
        """Return bytes of the file."""
        try:
            return os.pread(self._file, length, start)
        except OSError as error:
            raise TransferError(f"{self._path}: cannot be read back: {error.strerror}") from error

    def reserve(self, offset: int, length: int) -> None:
        """Do nothing, because any byte can be written at any time."""

    def finish(self, size: int) -> None:
        """Set the size, and wait until all is on disk."""
        try:
            os.ftruncate(self._file, size)
            os.fsync(self._file)
        except OSError as error:
            raise _unwritable(self._path, error) from error
        self.size = size

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def _unwritable(path: Path, error: OSError) -> VmKeepError:
    if error.errno in _FULL:
        return StoreFullError(f"{path}: no space left: {error.strerror}; nothing was exported")
    return TransferError(f"{path}: cannot be written: {error.strerror}")


def _write_whole(path: Path, content: bytes) -> None:
    """Write a small file, and wait until it is on disk."""
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL, 0o640)
    with os.fdopen(file, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(file)


def _write_note(hidden: Path, name: str) -> int:
    """Create a draft's note and lock it. Return its file descriptor."""
    note = os.open(hidden / _NOTE, os.O_RDWR | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        locked = True
        try:
            fcntl.flock(note, fcntl.LOCK_EX)
        except OSError:  # a file system without locks: only the age of its files tells that a draft is abandoned
            locked = False
        content = {"name": name, "process": os.getpid(), "boot": boot() if locked else ""}
        os.pwrite(note, json.dumps(content).encode(), 0)
        os.fsync(note)
    except OSError:
        os.close(note)
        raise
    return note


def _living(folder: Path, but: Path | None = None) -> set[str]:
    """Remove abandoned drafts. Return the names of the exports that others are writing."""
    found = set()
    for hidden in folder.glob(_DRAFT.format("*")):
        with suppress(OSError):  # it is gone, or another user's
            if hidden != but and hidden.is_dir() and not hidden.is_symlink() and (name := _look_at(folder, hidden)):
                found.add(name)
    return found


def _look_at(folder: Path, hidden: Path) -> str | None:
    """Remove a draft if it is abandoned. Return the name of its export if it is not."""
    try:
        note = os.open(hidden / _NOTE, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:  # its process has not written the note yet, or died before it could
        if _silent_since(hidden) > _ABANDONED_AFTER:
            shutil.rmtree(hidden, ignore_errors=True)
        return None
    try:
        try:
            fcntl.flock(note, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return str(_read_note(note).get("name", ""))
        content = _read_note(note)  # behind the lock, because its process may have written it until then
        if (not content.get("boot") or content["boot"] != boot()) and _silent_since(hidden) <= _ABANDONED_AFTER:
            return str(content.get("name", ""))
        naming = Naming.decode(content.get("naming"))
        if naming is None or naming.undo_of_dead(folder, hidden):
            shutil.rmtree(hidden, ignore_errors=True)
        return None
    finally:
        os.close(note)


def _read_note(note: int) -> dict[str, object]:
    """Return a note's fields; none, if its process died while it wrote them."""
    try:
        parsed = json.loads(os.pread(note, _LONGEST_NOTE, 0))
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _silent_since(hidden: Path) -> float:
    """Return the seconds since something in a draft was written."""
    newest = max((path.stat().st_mtime for path in (hidden, *hidden.iterdir())), default=0.0)
    return now().timestamp() - newest
