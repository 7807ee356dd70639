"""Scans the files of file systems: one thread reads, and some others give the contents to the scanners.

Only one thread reads a file system, because none is thread-safe. Memory and temporary files are bounded: the reader
waits until the scanners are through with older files.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from vmkeep.errors import CorruptError, NotFoundError, UnsupportedError
from vmkeep.lateclass import dataclass
from vmkeep.model.guestfiles import FileEntry, GuestFileSystem
from vmkeep.model.job import Progress
from vmkeep.model.scanning import FoundMalware, ScannedVolume, UnscannedFile
from vmkeep.model.wording import counted, size
from vmkeep.scanning.contents import loaded
from vmkeep.scanning.contract import LARGEST, Content, Scanner, VerdictKind
from vmkeep.scanning.walking import ChosenFile, UnreadFolder, choose_files, looks_unchanged

MOST: Final = 100
"""Finds, and files that were not scanned, that are kept with their names. All are counted."""
_LONGEST: Final = 1000
"""Characters of a path that are kept."""
_IN_FLIGHT: Final = LARGEST
_FILES_IN_FLIGHT: Final = 64
"""Most bytes, and most files, that are read and not yet scanned."""
_REPORTED: Final = 8 << 20
"""Bytes between two reports of the progress."""

OnProgress = Callable[[Progress], None]


@dataclass(slots=True)
class _Counts:
    """The counts of one volume, while it is scanned."""

    files: int = 0
    bytes_scanned: int = 0
    found: int = 0
    unscanned: int = 0
    unchanged: int = 0
    unread: int = 0
    """Folders that cannot be read."""
    first_unread: UnreadFolder | None = None
    faults: int = 0
    """Files that are damaged, or at which a scanner failed. They make the volume incomplete."""
    first_fault: str = ""


class Scan:
    """A scan of some volumes by some scanners. Its owner calls it from one thread."""

    def __init__(
        self, scanners: Sequence[Scanner], *, threads: int, folder: Path, check: Callable[[], None] = lambda: None
    ) -> None:
        """Prepare.

        :param threads: number of files that are scanned at the same time.
        :param folder: takes temporary files: at most twice the largest file that is scanned.
        :param check: called for each file; its error ends the scan.
        """
        self._scanners = scanners
        self._threads = threads
        self._folder = folder
        self._check = check
        self._lock = threading.Lock()
        self._findings: list[FoundMalware] = []
        self._unscanned: list[UnscannedFile] = []
        self._finders: set[str] = set()

    @property
    def findings(self) -> tuple[FoundMalware, ...]:
        """The first :data:`MOST` finds."""
        return tuple(sorted(self._findings, key=lambda found: (found.volume, found.path)))

    @property
    def finders(self) -> tuple[str, ...]:
        """Names of the scanners that have found something."""
        return tuple(sorted(self._finders))

    @property
    def unscanned(self) -> tuple[UnscannedFile, ...]:
        """The first :data:`MOST` files that were not scanned."""
        return tuple(sorted(self._unscanned, key=lambda left: (left.volume, left.path)))

    def volume(
        self, name: str, files: GuestFileSystem, *, older: GuestFileSystem | None = None, on_progress: OnProgress
    ) -> ScannedVolume:
        """Scan the files of a volume, or those that differ from an older state of it.

        :raises UnreachableError: a scanner does not answer any more.
        :raises TransientError: there is no space for temporary files.
        """
        counts = _Counts()
        problem = ""
        try:
            total = self._bytes_to_scan(files, older)
            self._scan_all(name, files, older, counts, _Meter(total, on_progress))
        except UnsupportedError as error:
            problem = str(error)
        if (first := counts.first_unread) is not None:
            problem = problem or f"{counted(counts.unread, 'folder')} cannot be read, e.g. {first.path}: {first.why}"
        if counts.faults:
            problem = problem or f"{counted(counts.faults, 'file')} could not be scanned, e.g. {counts.first_fault}"
        return ScannedVolume(
            name=name,
            kind=files.kind,
            files=counts.files,
            bytes_scanned=counts.bytes_scanned,
            found=counts.found,
            unscanned=counts.unscanned,
            unchanged=counts.unchanged,
            problem=problem,
        )

    def _bytes_to_scan(self, files: GuestFileSystem, older: GuestFileSystem | None) -> int:
        """Return about how many bytes are to be scanned, for the progress. This walks over the names only."""
        total = 0
        for chosen in choose_files(files, older, unchanged=looks_unchanged):
            self._check()
            if isinstance(chosen, ChosenFile) and not chosen.unchanged and chosen.entry.size <= LARGEST:
                total += chosen.entry.size
        return total

    def _scan_all(
        self, name: str, files: GuestFileSystem, older: GuestFileSystem | None, counts: _Counts, meter: _Meter
    ) -> None:
        gate = _Gate(_IN_FLIGHT)
        with ThreadPoolExecutor(self._threads, thread_name_prefix="scan") as pool:
            try:
                for chosen in choose_files(files, older):
                    self._check()
                    gate.check()
                    if isinstance(chosen, UnreadFolder):
                        counts.unread += 1
                        counts.first_unread = counts.first_unread or chosen
                    elif chosen.unchanged:
                        counts.unchanged += 1
                    elif chosen.entry.size > LARGEST:
                        self._leave(name, chosen.entry, f"larger than {size(LARGEST)}", counts)
                    else:
                        self._read(name, files, chosen.entry, counts, meter, gate, pool)
            finally:
                gate.wait()
        gate.check()
        meter.end()

    def _read(
        self,
        name: str,
        files: GuestFileSystem,
        entry: FileEntry,
        counts: _Counts,
        meter: _Meter,
        gate: _Gate,
        pool: ThreadPoolExecutor,
    ) -> None:
        """Read a file, and hand it to a thread that scans it."""
        gate.take(entry.size)
        with ExitStack() as stack:
            stack.callback(gate.give, entry.size)
            try:
                content = stack.enter_context(loaded(files, entry, folder=self._folder, on_bytes=meter.add))
            except (CorruptError, NotFoundError, UnsupportedError) as error:
                self._leave(name, entry, str(error), counts, is_fault=not isinstance(error, UnsupportedError))
                return
            handed = stack.pop_all()
            pool.submit(self._judge, name, content, counts, gate, handed)

    def _judge(self, name: str, content: Content, counts: _Counts, gate: _Gate, held: ExitStack) -> None:
        """Give a file to all scanners, and count the verdict."""
        with held, gate.noting_errors():
            left = ""
            found = is_fault = False
            for scanner in self._scanners:
                verdict = scanner.scan(content)
                if verdict.kind is VerdictKind.FOUND:
                    found = True
                    self._note(name, content, verdict.text, scanner.facts.name)
                elif verdict.kind is not VerdictKind.CLEAN:
                    left = left or verdict.text
                    is_fault |= verdict.kind is VerdictKind.FAULT
            with self._lock:
                counts.bytes_scanned += content.size
                counts.found += found
                counts.files += not left
                if left:
                    self._leave_held(name, content.name, content.size, left, counts, is_fault=is_fault)

    def _note(self, volume: str, content: Content, signature: str, scanner: str) -> None:
        with self._lock:
            self._finders.add(scanner)
            if len(self._findings) < MOST:
                self._findings.append(
                    FoundMalware(
                        volume=volume,
                        path=content.name[:_LONGEST],
                        signature=signature,
                        scanner=scanner,
                        size=content.size,
                        sha256=content.sha256,
                    )
                )

    def _leave(self, volume: str, entry: FileEntry, why: str, counts: _Counts, *, is_fault: bool = False) -> None:
        with self._lock:
            self._leave_held(volume, entry.path, entry.size, why, counts, is_fault=is_fault)

    def _leave_held(self, volume: str, path: str, length: int, why: str, counts: _Counts, *, is_fault: bool) -> None:
        """Count and name a file that was not scanned; the caller holds the lock."""
        counts.unscanned += 1
        if is_fault:
            counts.faults += 1
            counts.first_fault = counts.first_fault or f"{path[:_LONGEST]}: {why}"
        if len(self._unscanned) < MOST:
            self._unscanned.append(UnscannedFile(volume=volume, path=path[:_LONGEST], size=length, why=why))


class _Gate:
    """Bounds the bytes that are read and not yet scanned, and keeps the first error of a scanning thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._used = 0
        self._files = 0
        self._changed = threading.Condition()
        self._error: BaseException | None = None

    def take(self, length: int) -> None:
        """Wait until a file fits beside those that are not yet scanned. One alone always fits."""
        with self._changed:
            self._changed.wait_for(lambda: self._fits(length))
            self._used += length
            self._files += 1

    def _fits(self, length: int) -> bool:
        return not self._files or (self._files < _FILES_IN_FLIGHT and self._used + length <= self._most)

    def give(self, length: int) -> None:
        """Tell that a file was scanned."""
        with self._changed:
            self._used -= length
            self._files -= 1
            self._changed.notify_all()

    def wait(self) -> None:
        """Wait until all files are scanned. Each scan ends in any case."""
        with self._changed:
            self._changed.wait_for(lambda: not self._files)

    def check(self) -> None:
        """Return if no scanning thread has failed.

        :raises BaseException: the first error of one.
        """
        if self._error is not None:
            raise self._error

    @contextmanager
    def noting_errors(self) -> Iterator[None]:
        """Keep an error for the thread that reads."""
        try:
            yield
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that reads
            self._error = self._error or error


class _Meter:
    """Tells the progress of a volume, not more often than is worth it."""

    def __init__(self, total: int, on_progress: OnProgress) -> None:
        self._total = total
        self._on_progress = on_progress
        self._done = 0
        self._told = 0
        self._tell()

    def add(self, count: int) -> None:
        self._done += count
        if self._done - self._told >= _REPORTED:
            self._tell()

    def end(self) -> None:
        self._tell()

    def _tell(self) -> None:
        self._told = self._done
        self._on_progress(Progress(phase="scan", bytes_done=self._done, bytes_total=max(self._total, self._done)))
