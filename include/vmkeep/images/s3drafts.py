"""Exports to S3.

Each file is an upload in parts that stays open until all files of the export are sent. A completed upload creates or
replaces its object at once, under its final name, because S3 cannot rename. So the objects can be seen while they are
read back; only the manifest, which is written last, makes them an export.

An older export is replaced object by object then, its manifest first. If the new one fails before it has replaced one,
the older manifest comes back. After that, the older export is lost.

A *note* beside the objects tells which process writes which of them, and is written again every few minutes. If that
process died, the next export into the same place aborts its uploads, and deletes its objects, which have no manifest.
Each object tells in its metadata which draft uploaded it, so that no other one is ever deleted.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from vmkeep.clock import now
from vmkeep.errors import BlobNotFoundError, ConflictError, UsageError, VmKeepError
from vmkeep.images.partsinks import PartSink
from vmkeep.model.exports import MANIFEST, WrittenFile, parse_manifest
from vmkeep.processes import ABANDONED_AFTER, is_dead, this_process

if TYPE_CHECKING:
    from vmkeep.blobs.s3 import S3Uploads, SentPart

_NOTE: Final = ".vmkeep-{}.partial"
_RENEWED_AFTER: Final = 300.0
"""Seconds after which a note is written again."""
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

    def _living(self, but: str = "") -> set[str | None]:
        """Remove abandoned drafts. Return the names of the exports that others are writing."""
        begin, end = _NOTE.split("{}")
        notes = [found for found in self._uploads.list(begin) if found.name.endswith(end) and found.name != but]
        return {_look_at(self._uploads, found.name, found.modified) for found in notes}

    def read(self, name: str, most: int) -> bytes | None:
        """Return the content of a small object; see :meth:`vmkeep.images.drafts.ExportPlace.read`."""
        if not any(found.name == name and found.size <= most for found in self._uploads.list(name)):
            return None
        return self._uploads.get(name)

    @contextmanager
    def draft(self, name: str, *, overwrite: bool) -> Iterator[S3Draft]:
        """Open a draft; see :meth:`vmkeep.images.drafts.ExportPlace.draft`. Remove what dead exports left first."""
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="upload") as threads:
            draft = S3Draft(self._uploads, name, threads, overwrite=overwrite)
            try:
                # Its own note is written before it looks for others', so that of two that begin at once one sees the
                # other.
                if name in self._living(but=draft.note):
                    raise ConflictError(
                        f"{self.location}: another process is exporting {name!r} into it; wait for its end"
                    )
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
        self._lock = threading.Lock()
        self.note = _NOTE.format(secrets.token_hex(8))
        self._told: dict[str, Any] = {"name": name, "files": [], "complete": False, "older": None, **this_process()}
        self._write_note()

    def create(self, name: str, *, size: int, known: bool = True) -> PartSink:
        """Begin the upload of a file. The note tells of it first, so that none is ever left alone."""
        del known
        with self._lock:
            self._told["files"].append(name)
            self._write_note()
        upload = _Upload(self._uploads, name, self.note)
        sink = PartSink(upload, size=size, threads=self._threads, on_sent=self._renew)
        with self._lock:
            self._uploaded[name], self._sinks[name] = upload, sink
        return sink

    def complete(self) -> None:
        """Make objects of all uploads. An old manifest goes first, because it tells of other objects."""
        manifest = f"{self._told['name']}{MANIFEST}"
        with self._lock:
            self._told |= {"complete": True, "older": self._older(manifest) if self._overwrite else None}
            self._write_note()
        if self._overwrite:
            self._uploads.delete(manifest)
        for upload in self._uploaded.values():
            upload.complete(overwrite=self._overwrite)

    def _older(self, manifest: str) -> str | None:
        try:
            return self._uploads.get(manifest).decode(errors="replace")
        except BlobNotFoundError:
            return None

    def compare(self, name: str, chosen: Callable[[int, bytes], bool], on_compared: Callable[[int], None]) -> None:
        """Read parts of an object back; see :meth:`~vmkeep.images.partsinks.PartSink.compare`."""
        self._sinks[name].compare(chosen, on_compared)

    def files(self) -> list[WrittenFile]:
        """Return the files, in order of name."""
        return [
            WrittenFile(name=name, size=sink.size, sha256=sink.sha256) for name, sink in sorted(self._sinks.items())
        ]

    def publish(self, manifest: str, content: bytes) -> list[str]:
        """Write the manifest. The draft's end deletes what the older export has and this one has not."""
        try:
            self._uploads.put(manifest, content, overwrite=self._overwrite)
        except VmKeepError:  # perhaps only the answer was lost
            if not self._uploads.exists(manifest) or self._uploads.get(manifest) != content:
                raise
        older = self._told["older"]
        return [] if older is None else [name for name in _owned(older, manifest) if name not in self._told["files"]]

    def close(self) -> None:
        """Remove everything that is not published, as far as the server lets us, and the note."""
        with suppress(VmKeepError):  # then the note stays, so that a later export can do it
            for upload in self._uploaded.values():
                if not upload.completed:
                    upload.abort()
            _settle(self._uploads, self.note, self._told, self._told["files"])

    def _renew(self) -> None:
        with self._lock:
            if time.monotonic() - self._written_at > _RENEWED_AFTER:
                self._write_note()

    def _write_note(self) -> None:
        self._uploads.put(self.note, json.dumps(self._told).encode(), overwrite=True)
        self._written_at = time.monotonic()


class _Upload:
    """The parts of one object; see :class:`vmkeep.images.partsinks.Parts`."""

    def __init__(self, uploads: S3Uploads, name: str, owner: str) -> None:
        """Begin the upload."""
        self._uploads = uploads
        self._name = name
        self._owner = owner
        self._sent: dict[int, SentPart] = {}
        self.completed = False
        self._id = uploads.begin(name, owner=owner)

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
        try:
            self._uploads.complete(self._name, self._id, parts, overwrite=overwrite)
        except VmKeepError:  # perhaps only the answer was lost, and the next try found our own object
            if self._uploads.owner(self._name) != self._owner:
                raise
        self.completed = True

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
    if not is_dead(note) and (now() - modified).total_seconds() <= ABANDONED_AFTER:
        return name
    for file in files:
        uploads.abort_all(file)
    _settle(uploads, note_name, note, files)
    return None


def _settle(uploads: S3Uploads, note_name: str, note: Mapping[str, Any], files: Iterable[str]) -> None:
    """End a draft: keep what is published, and delete everything else that it made, and its note.

    :param files: the files of the draft, whose uploads are ended.
    """
    manifest, older = f"{note['name']}{MANIFEST}", note.get("older")
    if note.get("complete"):
        ours = {file for file in files if uploads.owner(file) == note_name}
        if not uploads.exists(manifest):
            for file in ours:
                uploads.delete(file)
            if older is not None and not ours:  # no object of the older export was replaced
                uploads.put(manifest, older.encode(), overwrite=False)
        elif ours and older is not None:
            for file in _owned(older, manifest):
                if file not in files:
                    uploads.delete(file)
    uploads.delete(note_name)


def _owned(older: str, manifest: str) -> list[str]:
    """Return the objects that an older manifest names."""
    try:
        return parse_manifest(older.encode(), what=manifest).owned
    except UsageError:
        return []
