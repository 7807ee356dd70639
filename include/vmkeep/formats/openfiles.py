"""Holds all files that a disk is read from: those of its image, and those of the images below it."""

from __future__ import annotations

from types import TracebackType

from vmkeep.formats.imagefile import ImageFile


class OpenFiles:
    """Open files that are closed together. A context manager that closes them after an error only."""

    def __init__(self) -> None:
        self._files: list[ImageFile] = []

    def __enter__(self) -> OpenFiles:  # noqa: PYI034 - as in images.diskfiles
        """Use while the files are being opened."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files if not all could be opened."""
        if kind is not None:
            self.close()

    def add(self, file: ImageFile) -> ImageFile:
        """Take over an open file, and return it."""
        self._files.append(file)
        return file

    @property
    def files(self) -> tuple[ImageFile, ...]:
        """The files in the order in which they were opened."""
        return tuple(self._files)

    def close(self) -> None:
        """Close the files. A second call does nothing."""
        while self._files:
            self._files.pop().close()
