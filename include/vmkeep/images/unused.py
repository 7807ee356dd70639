"""Makes sure that nobody writes to an image while it is stored, as far as others can be seen.

QEMU locks an image that it may write to (``imagelocks``). VMware's desktop
products put a folder ``NAME.lck`` beside a file in use. Every other writer at least changes the file's state.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from vmkeep.errors import TransientError
from vmkeep.formats import FileState, ImageFile, file_state, settled_state
from vmkeep.images.imagelocks import is_written


class Unused:
    """Images that nobody else writes to."""

    def __init__(self) -> None:
        self._seen: dict[tuple[Path, FileState | None], None] = {}

    def watch(self, paths: Iterable[Path]) -> None:
        """Begin to watch files, from which nothing was read yet.

        :raises TransientError: a program has one open for writing.
        """
        self._watch((path, _settled(path)) for path in paths)

    def watch_open(self, files: Iterable[ImageFile]) -> None:
        """Begin to watch files by their state when they were opened.

        :raises TransientError: a program has one open for writing.
        """
        self._watch((file.path, file.state) for file in files)

    def _watch(self, seen: Iterable[tuple[Path, FileState | None]]) -> None:
        for each in seen:
            if each not in self._seen:
                _require_unlocked(each[0])
                self._seen[each] = None

    def require_unchanged(self) -> None:
        """Return if no file has changed since it is watched.

        :raises TransientError: one has, so that a mix of two states was read.
        """
        changed = next((path for path, state in self._seen if _state(path) != state), None)
        if changed is not None:
            raise TransientError(
                f"{changed}: was changed while it was read, so that nothing was sealed: stop the program that writes "
                "to it, and import again"
            )


def _require_unlocked(path: Path) -> None:
    folder = path.with_name(f"{path.name}.lck")
    if folder.is_dir() and any(folder.iterdir()):
        raise TransientError(
            f"{path}: is in use by VMware: shut its VM down; if it does not run, remove the folder {folder.name}"
        )
    with suppress(OSError):  # a file that cannot be opened is told later, and some file systems know no locks
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            held = is_written(file)
        finally:
            os.close(file)
        if held:
            raise TransientError(f"{path}: QEMU has it open for writing: shut its VM down, then import it")


def _settled(path: Path) -> FileState | None:
    try:
        return settled_state(path.stat)
    except OSError:
        return None


def _state(path: Path) -> FileState | None:
    try:
        return file_state(path.stat())
    except OSError:
        return None
