"""Gives a file, or a folder as an archive, piece by piece to whoever takes it, as the web view does for a browser."""

from __future__ import annotations

from collections.abc import Callable

from vmkeep.fetching import Fetch, Report, fetch, require_possible
from vmkeep.flows.point_files import FilePath, open_point_files
from vmkeep.lateclass import dataclass
from vmkeep.model.fetched import FetchForm
from vmkeep.model.guestfiles import FileKind
from vmkeep.repository import Repository

__all__ = ["FetchForm", "StreamHead", "StreamRequest", "stream_files"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRequest:
    """The file or folder that is asked for."""

    point: str
    """Ref."""
    at: FilePath
    form: FetchForm | None = None
    """``None``: a file as it is, and a folder as a tar archive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamHead:
    """The facts about a stream that are known before its first byte."""

    name: str
    """A name for the file, as the guest has it, with the ending of its form."""
    size: int | None
    """Bytes; ``None``: nobody knows before the end."""


def stream_files(
    repository: Repository,
    request: StreamRequest,
    *,
    begin: Callable[[StreamHead], object],
    write: Callable[[bytes | memoryview], object],
    check: Callable[[], None],
) -> None:
    """Give a file, or a folder with everything below it. The first thing that cannot be read ends it with an error.

    Bytes that were taken before an error are the beginning of something that is not whole: whoever took them has to
    throw them away. Devices and sockets are left out of archives.

    :param begin: is called once, before the first byte.
    :param write: takes bytes that are valid until it returns. Its error ends the work.
    :param check: is called often. Its error ends the work.
    :raises NotFoundError: there is no such point, volume or path.
    :raises UsageError: the form does not fit.
    :raises UnsupportedError: the volume or a file cannot be read; the message names the way out.
    :raises CorruptError: a block is damaged, or the file system contradicts itself. The message names file and point.
    """
    at = request.at
    with open_point_files(repository, request.point, doing="fetching files", tell=lambda _warning: None) as opened:
        files, entry = opened.open(at.volume), opened.entry(at)
        is_folder = entry.kind is FileKind.FOLDER
        form = FetchForm.TAR if request.form is None and is_folder else request.form
        require_possible(entry, form, streamed=True)
        name = entry.name or at.volume.replace("/", "-")
        report = Report(what=f"{opened.point.ref}, {at.volume}", keep_going=False, on_bytes=lambda _done: check())
        begin(StreamHead(name=name if form is None else f"{name}.{form}", size=entry.size if form is None else None))
        fetch(Fetch(files=files, entry=entry, name=name, form=form, out=None), report, stream=write)
