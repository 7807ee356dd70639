"""Exports into a folder of this machine.

A draft is a hidden folder in that folder. The files in it have their final names, so that readers of formats with
several files find them; ``draftnotes`` has its note.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from vmkeep.errors import ConflictError, NotFoundError, TransferError, UsageError
from vmkeep.images.diskfiles import remove_abandoned
from vmkeep.images.draftnotes import drafts_in, living_drafts, new_draft, note_naming, write_note
from vmkeep.images.localnames import older_files, plan_naming, unused
from vmkeep.images.localsinks import LocalSink, unwritable, write_whole
from vmkeep.images.partsinks import PartSink
from vmkeep.model.exports import MANIFEST, WrittenFile


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
        remove_abandoned(drafts_in(self._folder))
        living_drafts(self._folder)

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
        hidden = new_draft(self._folder)
        try:
            hidden.mkdir(0o700)
            note = write_note(hidden, name)
        except OSError as error:
            shutil.rmtree(hidden, ignore_errors=True)
            raise unwritable(self._folder, error) from error
        draft = LocalDraft(self._folder, hidden, note, overwrite=overwrite)
        try:
            # Its own note is written before it looks for others', so that of two that begin at once one sees the other.
            if name in living_drafts(self._folder, but=hidden):
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
            write_whole(self._hidden / manifest, content)
            names = [*sorted(self._sinks), manifest]
            naming = plan_naming(self._target, self._hidden, names, manifest, overwrite=self._overwrite)
            note_naming(self._note, naming)
            try:
                naming.name(self._target, self._hidden)
            except BaseException:
                self.all_back = naming.undo(self._target, self._hidden)
                raise
            note_naming(self._note, None)
        except OSError as error:
            raise unwritable(self._target, error) from error
        return [name for name in naming.older if name not in naming.files]

    def close(self) -> None:
        """Close all files."""
        self._threads.shutdown(cancel_futures=True)
        for file in self._files.values():
            file.close()
