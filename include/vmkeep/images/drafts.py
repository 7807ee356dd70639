"""An export that is being written, and the places that take one: a folder, or S3.

Nothing of a draft counts before :meth:`Draft.publish`. Its last step writes the export's manifest, and that is the
commit: files without a manifest are no export. A process that dies leaves a draft behind. The next export into the same
place removes it, because its owner is provably dead, or has been silent for a day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from vmkeep.model.exports import WrittenFile
from vmkeep.model.sinks import Sink


class Draft(Protocol):
    """The files of one export, until they are published."""

    def create(self, name: str, *, size: int, known: bool = True) -> Sink:
        """Begin a new file. Thread-safe.

        :param name: the file's final name, without a folder.
        :param size: bytes that the file will have.
        :param known: false: the size is not known yet, and ``size`` is the most that it can be.
        """

    def complete(self) -> None:
        """Make the finished files readable, still without their names where the place can do that."""

    @property
    def folder(self) -> Path | None:
        """The folder that holds the files under their final names; ``None``: they are on S3."""

    def compare(self, name: str, chosen: Callable[[int, bytes], bool], on_compared: Callable[[int], None]) -> None:
        """Compare parts of a complete file with what was sent, if it is on S3.

        :param chosen: takes a part's number from 0 and its digest; tells whether to read it.
        :param on_compared: takes the bytes of each part that was read.
        :raises VerificationError: a part has other bytes.
        """

    def files(self) -> Iterable[WrittenFile]:
        """Return the finished files, in order of name."""

    def publish(self, manifest: str, content: bytes) -> list[str]:
        """Give all files their names, then write the export's manifest under its own.

        Return the files of the export that was replaced, which this one does not have and which are removed.

        :raises ConflictError: a name is taken, and the draft was not opened to overwrite.
        """


class ExportPlace(Protocol):
    """A folder or a prefix on S3 that takes exports."""

    @property
    def location(self) -> str:
        """The place as users write it."""

    @property
    def largest(self) -> int | None:
        """Bytes of the largest file that the place surely takes; ``None``: the place has to be tried."""

    def clean(self) -> None:
        """Remove what dead exports left, because it takes names and room."""

    def free(self) -> int | None:
        """Return the free bytes; ``None``: the place does not tell."""

    def taken(self, names: Iterable[str]) -> list[str]:
        """Return those of some names that exist."""

    def read(self, name: str, most: int) -> bytes | None:
        """Return the content of a small file; ``None``: there is none of that name, or it is larger, or another user's.

        :param most: bytes of the largest file that is read.
        """

    def draft(self, name: str, *, overwrite: bool) -> AbstractContextManager[Draft]:
        """Open a draft. What is not published when it ends is removed.

        :param name: name of the export; only one draft of a name is open at a time.
        :raises ConflictError: another process is writing an export of this name there.
        """
