"""Fetches a file or a folder out of a restore point: to a file, a folder, an archive, or standard output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vmkeep.errors import VmKeepError
from vmkeep.fetching import Fetch, Report, Step, fetch, require_possible, walk
from vmkeep.flows.point_files import FilePath, open_point_files, parse_file_path
from vmkeep.lateclass import dataclass
from vmkeep.model.fetched import FetchedFiles, FetchForm
from vmkeep.model.guestfiles import FileEntry, FileKind, GuestFileSystem
from vmkeep.model.job import Progress
from vmkeep.repository import Repository

__all__ = ["STREAM", "FetchForm", "FetchRequest", "FetchedFiles", "fetch_files"]

STREAM = "-"
"""Stands for standard output."""
OnProgress = Callable[[Progress], None]
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRequest:
    """The wishes of a person."""

    point: str
    source: str
    """``VOLUME:/path``."""
    out: str
    """A path that is free, a folder in which the name of the source is free, or :data:`STREAM`."""
    form: FetchForm | None = None
    """``None``: by the ending of ``out`` (``.tar``, ``.zip``); else a file as it is, or a folder as a folder."""
    keep_going: bool = False
    """Leave out files that cannot be read, and list them."""


def fetch_files(
    repository: Repository,
    request: FetchRequest,
    *,
    stream: Callable[[bytes | memoryview], object],
    tell: Tell,
    on_progress: OnProgress = lambda _progress: None,
) -> FetchedFiles:
    """Fetch a file, or a folder with everything below it. Nothing has its name before all of it is complete.

    :param stream: takes the bytes for standard output.
    :param tell: takes each warning about the point and the volume, before anything is written.
    :raises NotFoundError: there is no such point, volume, path, or no folder for the result.
    :raises ConflictError: the name of the result is taken.
    :raises UsageError: the form does not fit.
    :raises UnsupportedError: the volume or the file cannot be read; the message names the way out.
    :raises CorruptError: a block is damaged, or the file system contradicts itself. The message names file and point.
    :raises VerificationError: other bytes came back from this machine's disk than were written.
    """
    at = parse_file_path(request.source)
    told: list[str] = []

    def note(warning: str) -> None:
        told.append(warning)
        tell(warning)

    with open_point_files(repository, request.point, doing="fetching files", tell=note) as opened:
        files, entry = opened.open(at.volume), opened.entry(at)
        streamed = request.out == STREAM
        form = _form(request, entry)
        require_possible(entry, form, streamed=streamed)
        name = _name(at)
        out = None if streamed else _place(Path(request.out), name, form)
        total = _total(files, entry, on_progress)
        report = Report(
            what=f"{opened.point.ref}, {at.volume}",
            keep_going=request.keep_going,
            on_bytes=lambda done: on_progress(Progress(phase="fetch", bytes_done=done, bytes_total=total)),
        )
        order = Fetch(files=files, entry=entry, name=name, form=form, out=out)
        fetch(order, report, stream=stream)
        return FetchedFiles(
            point=opened.point.ref,
            volume=at.volume,
            path=at.path,
            out=STREAM if out is None else str(out),
            form=form,
            files=report.files,
            folders=report.folders,
            symlinks=report.symlinks,
            hard_links=report.hard_links,
            bytes_of_files=report.bytes_of_files,
            bytes_of_data=report.bytes_of_data,
            failed=report.failed,
            failures=tuple(report.failures),
            left_out=report.left_out,
            warnings=tuple(told),
        )


def _form(request: FetchRequest, entry: FileEntry) -> FetchForm | None:
    if request.form is not None:
        return request.form
    ending = Path(request.out).suffix.lower()
    if entry.kind is FileKind.FOLDER:
        return {".tar": FetchForm.TAR, ".zip": FetchForm.ZIP}.get(ending, FetchForm.FOLDER)
    return None


def _name(at: FilePath) -> str:
    """Return the name of the source; for the root of a volume, that of the volume."""
    return at.path.rpartition("/")[2] or at.volume.replace("/", "-")


def _place(out: Path, name: str, form: FetchForm | None) -> Path:
    """Return the path that is written: in a folder that is there, that of the source's name."""
    if not out.is_dir():
        return out
    ending = f".{form}" if form in (FetchForm.TAR, FetchForm.ZIP) else ""
    return out / f"{name}{ending}"


def _total(files: GuestFileSystem, entry: FileEntry, on_progress: OnProgress) -> int:
    """Return the sum of the sizes of all files, so that the end can be estimated. Errors are met again later."""
    if entry.kind is FileKind.FILE:
        return entry.size

    def ignore(_path: str, _error: VmKeepError) -> None:
        return

    total = 0
    for step, each in walk(files, entry, ignore):
        if step is Step.ENTRY and each.kind is FileKind.FILE:
            total += each.size
            on_progress(Progress(phase="list", bytes_done=0, bytes_total=total))
    return total
