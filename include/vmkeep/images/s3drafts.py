"""Exports to S3.

Each file is an upload in parts that stays open until all files of the export are sent. A completed upload creates or
replaces its object at once, under its final name, because S3 cannot rename. So the objects can be seen while they are
read back; only the manifest, which is written last, makes them an export.

A *note* beside the objects tells which process writes which of them, and is written again every few minutes. If that
process died, the next export into the same place aborts its uploads, and deletes its objects, which have no manifest.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from vmkeep.clock import now
from vmkeep.errors import BlobNotFoundError, ConflictError, VmKeepError
from vmkeep.images.partsinks import PartSink
from vmkeep.images.processes import is_dead, this_process
from vmkeep.model.exports import MANIFEST, WrittenFile

if TYPE_CHECKING:
    from vmkeep.blobs.s3 import S3Uploads, SentPart

_NOTE: Final = ".vmkeep-{}.partial"
_RENEWED_AFTER: Final = 300.0
"""Seconds after which a note is written again."""
_ABANDONED_AFTER: Final = 86400.0
"""Seconds without a new note, after which the draft of another machine counts as abandoned."""
_THREADS: Final = 8
"""Parts that are sent at the same time, of all files together."""


class S3Place:
    """A prefix on S3 that takes exports."""

    largest = 5 << 40
    """Bytes of the largest object that every server takes."""

    def __init__(self, uploads: S3Uploads) -> None:
        self._uploads = uploads

    @property
    def location(self) -> str:
        """The location, ``s3://bucket/prefix``."""
        return self._uploads.location

    def free(self) -> int | None:
        """Return ``None``, because S3 does not tell."""
        return None

    def taken(self, names: Iterable[str]) -> list[str]:
        """Return those of some names that exist."""
        return [name for name in names if self._uploads.exists(name)]

    def clean(self) -> None:
        """Remove what dead exports left; see :meth:`vmkeep.images.drafts.ExportPlace.clean`."""
        self._living()

    def _living(self) -> set[str | None]:
        """Remove abandoned drafts. Return the names of the exports that others are writing."""
        begin, end = _NOTE.split("{}")
        notes = [found for found in self._uploads.list(begin) if found.name.endswith(end)]
        return {_look_at(self._uploads, found.name, found.modified) for found in notes}

    @contextmanager
    def draft(self, name: str, *, overwrite: bool) -> Iterator[S3Draft]:
        """Open a draft; see :meth:`vmkeep.images.drafts.ExportPlace.draft`. Remove what dead exports left first."""
        if name in self._living():
            raise ConflictError(f"{self.location}: another process is exporting {name!r} into it; wait for its end")
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="upload") as threads:
            draft = S3Draft(self._uploads, name, threads, overwrite=overwrite)
            try:
                yield draft
            finally:
                threads.shutdown(cancel_futures=True)
                draft.close()


class S3Draft:
    """The files of an export to S3."""

    folder = None

    def __init__(self, uploads: S3Uploads, name: str, threads: ThreadPoolExecutor, *, overwrite: bool) -> None:
        """Write the note."""
        self._uploads = uploads
        self._threads = threads
        self._overwrite = overwrite
        self._uploaded: dict[str, _Upload] = {}
        self._sinks: dict[str, PartSink] = {}
        self._complete: list[str] = []
        self._published = False
        self._lock = threading.Lock()
        self._note_name = _NOTE.format(secrets.token_hex(8))
        self._note: dict[str, Any] = {"name": name, "files": [], "complete": False, **this_process()}
        self._write_note()

    def create(self, name: str, *, size: int, known: bool = True) -> PartSink:
        """Begin the upload of a file. The note tells of it first, so that none is ever left alone."""
        del known
        with self._lock:
            self._note["files"].append(name)
            self._write_note()
        upload = _Upload(self._uploads, name)
        sink = PartSink(upload, size=size, threads=self._threads, on_sent=self._renew)
        with self._lock:
            self._uploaded[name], self._sinks[name] = upload, sink
        return sink

    def complete(self) -> None:
        """Make objects of all uploads. An old manifest goes first, because it tells of other objects."""
        with self._lock:
            self._note["complete"] = True
            self._write_note()
        if self._overwrite:
            self._uploads.delete(f"{self._note['name']}{MANIFEST}")
        for name, upload in self._uploaded.items():
            upload.complete(overwrite=self._overwrite)
            self._complete.append(name)

    def compare(self, name: str, chosen: Callable[[int, bytes], bool], on_compared: Callable[[int], None]) -> None:
        """Read parts of an object back; see :meth:`~vmkeep.images.partsinks.PartSink.compare`."""
        self._sinks[name].compare(chosen, on_compared)

    def files(self) -> list[WrittenFile]:
        """Return the files, in order of name."""
        return [
            WrittenFile(name=name, size=sink.size, sha256=sink.sha256) for name, sink in sorted(self._sinks.items())
        ]

    def publish(self, manifest: str, content: bytes) -> None:
        """Write the manifest."""
        self._uploads.put(manifest, content, overwrite=self._overwrite)
        self._published = True

    def close(self) -> None:
        """Remove everything that is not published, as far as the server lets us, and the note."""
        clean = True
        for name, upload in () if self._published else self._uploaded.items():
            try:
                if name in self._complete:
                    self._uploads.delete(name)
                else:
                    upload.abort()
            except VmKeepError:  # the note stays, so that a later export can do it
                clean = False
        if clean:
            with suppress(VmKeepError):
                self._uploads.delete(self._note_name)

    def _renew(self) -> None:
        with self._lock:
            if time.monotonic() - self._written_at > _RENEWED_AFTER:
                self._write_note()

    def _write_note(self) -> None:
        self._uploads.put(self._note_name, json.dumps(self._note).encode(), overwrite=True)
        self._written_at = time.monotonic()


class _Upload:
    """The parts of one object; see :class:`vmkeep.images.partsinks.Parts`."""

    def __init__(self, uploads: S3Uploads, name: str) -> None:
        """Begin the upload."""
        self._uploads = uploads
        self._name = name
        self._sent: dict[int, SentPart] = {}
        self._id = uploads.begin(name)

    @property
    def what(self) -> str:
        """The object's location."""
        return f"{self._uploads.location}/{self._name}"

    def send(self, number: int, start: int, content: bytearray) -> None:
        """Send a part. The server counts them from 1."""
        del start
        self._sent[number] = self._uploads.send(self._name, self._id, number + 1, content)

    def end(self, size: int) -> None:
        """Do nothing, because a part that was sent is durable."""

    def complete(self, *, overwrite: bool) -> None:
        """Make the object."""
        parts = [self._sent[number] for number in sorted(self._sent)]
        self._uploads.complete(self._name, self._id, parts, overwrite=overwrite)

    def abort(self) -> None:
        """Remove the parts."""
        self._uploads.abort(self._name, self._id)

    def read(self, start: int, length: int) -> bytes:
        """Return bytes of the object."""
        return self._uploads.get_range(self._name, start, length)


def _look_at(uploads: S3Uploads, note_name: str, modified: Any) -> str | None:
    """Remove a draft if it is abandoned. Return the name of its export if it is not."""
    try:
        note = json.loads(uploads.get(note_name))
        name = str(note["name"])
        files = [file for file in note["files"] if file.startswith(name)]
    except BlobNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None  # it is no note of ours
    if not is_dead(note) and (now() - modified).total_seconds() <= _ABANDONED_AFTER:
        return name
    for file in files:
        uploads.abort_all(file)
    if note.get("complete") and not uploads.exists(f"{name}{MANIFEST}"):
        for file in files:
            uploads.delete(file)
    uploads.delete(note_name)
    return None
