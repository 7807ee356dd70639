"""Counts what was fetched, and remembers all that is missing."""

from __future__ import annotations

from collections.abc import Callable

from vmkeep.errors import CorruptError, NotFoundError, UnsupportedError, VmKeepError
from vmkeep.model.fetched import LISTED_FAILURES, FileFailure, LeftOut

_OF_ONE_FILE = (CorruptError, NotFoundError, UnsupportedError)
"""Errors that say something about one file. All others, e.g. of the store, end the work."""


class Report:
    """The counts and the losses of one fetch."""

    def __init__(self, *, what: str, keep_going: bool, on_bytes: Callable[[int], None]) -> None:
        """:param what: the volume and the point, as the beginning of each error.

        :param keep_going: note a file that cannot be read, and go on without it.
        :param on_bytes: takes the bytes of files that are done, with their holes. Its error ends the work.
        """
        self._what = what
        self._on_bytes = on_bytes
        self._of_this_file = 0
        self.keep_going = keep_going
        self.files = self.folders = self.symlinks = self.hard_links = 0
        self.bytes_of_files = self.bytes_of_data = 0
        self.failed = 0
        self.failures: list[FileFailure] = []
        self._left_out: dict[str, tuple[int, str]] = {}

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """All that the form or the user does not allow, by reason."""
        return tuple(
            LeftOut(reason=reason, count=count, example=example) for reason, (count, example) in self._left_out.items()
        )

    def leave_out(self, reason: str, path: str) -> None:
        """Note that something of an entry was not written."""
        count, example = self._left_out.get(reason, (0, path))
        self._left_out[reason] = (count + 1, example)

    def read(self, count: int) -> None:
        """Count bytes of a file that were read."""
        self.bytes_of_data += count
        self._of_this_file += count
        self._on_bytes(self.bytes_of_files + self._of_this_file)

    def still_at_work(self, _count: int) -> None:
        """Let whoever waits stop the work, while bytes are read that are read again later."""
        self._on_bytes(self.bytes_of_files + self._of_this_file)

    def done(self, size: int) -> None:
        """Count a file that is complete."""
        self.files += 1
        self.bytes_of_files += size
        self._of_this_file = 0
        self._on_bytes(self.bytes_of_files)

    def fail(self, path: str, error: VmKeepError) -> None:
        """Note an entry that cannot be fetched.

        :raises VmKeepError: nobody asked to go on, or the error is not about this entry alone. The message names the
            entry.
        """
        if not isinstance(error, _OF_ONE_FILE):
            raise error
        if not self.keep_going:
            kind = next(kind for kind in _OF_ONE_FILE if isinstance(error, kind))
            raise kind(f"{self._what}:{path}: {error}") from error
        self.failed += 1
        self._of_this_file = 0
        if len(self.failures) < LISTED_FAILURES:
            self.failures.append(FileFailure(path=path, why=str(error)))
