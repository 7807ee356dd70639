"""The contract of a scanner: it takes the content of a file and returns a verdict, or says that it has none."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

from vmkeep.lateclass import dataclass
from vmkeep.model.scanfacts import ScannerFacts

LARGEST: Final = 512 << 20
"""Largest file in bytes that is given to scanners. Larger ones are named as not scanned."""
_PIECE: Final = 1 << 20


class VerdictKind(StrEnum):
    """The answers of a scanner."""

    CLEAN = "clean"
    FOUND = "found"
    NOT_SCANNED = "not-scanned"
    """The scanner did not look at all of the file, so that nobody knows."""
    FAULT = "fault"
    """The scanner itself failed, e.g. because its disk is full. It says nothing about the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer of a scanner about one file."""

    kind: VerdictKind
    text: str = ""
    """The signature of a find, or the reason why there is no verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The whole content of one file, read and held for the scanners: in memory, or, if it is large, in a file."""

    name: str
    """Path of the file in the guest, because some rules ask for names."""
    size: int
    sha256: str
    data: bytes | None = None
    path: Path | None = None
    """Temporary file with the content, if it is not in memory."""

    def pieces(self) -> Iterator[bytes]:
        """Yield the content in pieces of at most 1 MiB."""
        if self.data is not None:
            for start in range(0, len(self.data), _PIECE):
                yield self.data[start : start + _PIECE]
            return
        assert self.path is not None
        with self.path.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece


class Scanner(Protocol):
    """A scanner that is ready."""

    @property
    def facts(self) -> ScannerFacts:
        """Its name, version and signatures."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about what it cannot see."""

    def scan(self, content: Content) -> Verdict:
        """Look at a file. Ends in any case. Thread-safe.

        :raises UnreachableError: the scanner does not answer any more.
        """
