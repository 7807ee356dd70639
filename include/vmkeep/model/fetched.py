"""The result of fetching files out of a restore point, and the choices that a person has."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from vmkeep.lateclass import dataclass

LISTED_FAILURES: Final = 10_000
"""Most files that could not be fetched of which a result keeps the names. It counts all of them."""


class FetchForm(StrEnum):
    """The form in which a folder is written."""

    FOLDER = "folder"
    TAR = "tar"
    ZIP = "zip"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFailure:
    """A file or a folder that could not be fetched."""

    path: str
    """Its path in the guest's file system."""
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Something of the guest's files that the chosen form cannot hold, or that this user may not write."""

    reason: str
    count: int
    example: str
    """Path of the first entry that lacks it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedFiles:
    """The outcome of writing: counts by kind, and all that is missing."""

    point: str
    volume: str
    path: str
    """The path in the volume that was asked for."""
    out: str
    """The file or the folder that was written; ``-``: standard output."""
    form: FetchForm | None
    """``None``: a single file was written as it is."""
    files: int
    folders: int
    symlinks: int
    hard_links: int
    bytes_of_files: int
    """Sum of the files' sizes, with their holes."""
    bytes_of_data: int
    """Bytes that were read from the point; the rest are holes."""
    failed: int
    failures: tuple[FileFailure, ...]
    """The first of those that failed; see :data:`LISTED_FAILURES`."""
    left_out: tuple[LeftOut, ...]
    warnings: tuple[str, ...]
