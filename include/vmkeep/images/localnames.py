"""Gives the files of a draft their names in a folder: all of them, or none.

An older export of that name is moved into the draft first, its manifest before everything else, and comes back if
anything fails. The manifest of the new export gets its name last. So a manifest never tells of files that it did not
see, and a name whose manifest exists is never taken back.

The draft's note tells all that is needed to undo a half naming. So the next export into the folder can do it, if this
process dies.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from vmkeep.blobs import name_if_free, sync_folder
from vmkeep.errors import ConflictError, UsageError
from vmkeep.images.imagelocks import locked_image
from vmkeep.lateclass import dataclass
from vmkeep.model.exports import LARGEST_MANIFEST, parse_manifest

_OLDER: Final = ".older"
"""Folder in a draft for the files of the export that it replaces. No file of an export begins with a dot."""
_HELD_AT_ONCE: Final = 64
"""Images that are kept from programs together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """The files that are about to get names in a folder, and those that have these names until then."""

    manifest: str
    files: Mapping[str, tuple[int, int, int]]
    """A stamp of each new file, by which it is known again: inode, time of its last change, and size."""
    older: Sequence[str]
    """The files of the export that is replaced, its manifest first."""

    def encode(self) -> dict[str, object]:
        """Return the naming as it stands in a note."""
        return {"manifest": self.manifest, "files": self.files, "older": self.older}

    @classmethod
    def decode(cls, plain: Any) -> Naming | None:
        """Return the naming that a note tells of; ``None``: it tells of none."""
        try:
            files = {_plain(name): (int(a), int(b), int(c)) for name, (a, b, c) in plain["files"].items()}
            older = tuple(map(_plain, plain["older"]))
            return cls(manifest=_plain(plain["manifest"]), files=files, older=older)
        except (KeyError, TypeError, ValueError, AttributeError):
            return None

    def name(self, folder: Path, draft: Path) -> None:
        """Give the files their names.

        :raises ConflictError: a name is taken by a file that is not one of the older export, or a program writes to one
            of those.
        """
        if self.older:
            with unused(folder, self.older):
                _move_away(folder, draft / _OLDER, self.older)
        for name in (*(name for name in self.files if name != self.manifest), self.manifest):
            if name == self.manifest:
                sync_folder(folder)  # the manifest is not seen before the files, also after a power cut
            if not name_if_free(draft / name, folder / name):
                raise ConflictError(
                    f"{folder / name}: exists already; nothing was exported: give another name, or --force"
                )
        sync_folder(folder)

    def undo(self, folder: Path, draft: Path) -> bool:
        """Take the names of the new files back, and give the older ones theirs. Return whether all of these have them.

        A file that somebody has changed or replaced meanwhile stays.
        """
        for name in (self.manifest, *self.files):
            if _stamp(folder / name) == self.files.get(name):
                (folder / name).unlink(missing_ok=True)
        back = [_put_back(draft / _OLDER / name, folder / name) for name in reversed(self.older)]
        sync_folder(folder)
        return all(back)

    def undo_of_dead(self, folder: Path, draft: Path) -> bool:
        """Do the same for an export whose process died, unless it is complete, because its manifest has its name."""
        return os.path.lexists(folder / self.manifest) or self.undo(folder, draft)


def plan_naming(folder: Path, draft: Path, names: Iterable[str], manifest: str, *, overwrite: bool) -> Naming:
    """Return the naming of the files of a draft.

    :param names: the files' names, with the manifest's.
    :param overwrite: the export of the same name in the folder is replaced, with every file that its manifest names.
    :raises ConflictError: a folder has one of the names.
    """
    files = {name: stamp for name in names if (stamp := _stamp(draft / name)) is not None}
    older = older_files(folder, manifest, files) if overwrite else []
    for path in (folder / name for name in older):
        if path.is_dir() and not path.is_symlink():
            raise ConflictError(f"{path}: is a folder, which an export does not replace: remove it, or give a --name")
    return Naming(manifest=manifest, files=files, older=older)


def older_files(folder: Path, manifest: str, more: Iterable[str] = ()) -> list[str]:
    """Return the files of an export that there is, its manifest first.

    :param more: names that an export of another kind may have left.
    """
    wanted = dict.fromkeys((manifest, *_named_by(folder / manifest), *more))
    return [name for name in wanted if os.path.lexists(folder / name)]


@contextmanager
def unused(folder: Path, names: Iterable[str]) -> Iterator[None]:
    """Keep programs from writing to images that are to be replaced, because they would lose all that they write.

    :raises ConflictError: QEMU, or a ``point apply``, has one open for writing.
    """
    with ExitStack() as held:
        for count, path in enumerate(folder / name for name in names):
            if path.is_file() and os.access(path, os.W_OK):
                with ExitStack() as looked_at:  # all pieces of a large image may be more files than can be open
                    stack = held if count < _HELD_AT_ONCE else looked_at
                    stack.enter_context(locked_image(path, readers=False))
        yield


def _move_away(folder: Path, kept: Path, names: Iterable[str]) -> None:
    kept.mkdir()
    for name in names:
        with suppress(FileNotFoundError):
            (folder / name).rename(kept / name)
    sync_folder(kept)
    sync_folder(folder)


def _named_by(manifest: Path) -> list[str]:
    """Return the files that an older manifest names, if they are surely its own: their names begin like its name."""
    try:
        file = os.open(manifest, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return []
    with open(file, "rb") as opened:  # noqa: PTH123 - it is a descriptor
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return []
        content = opened.read(LARGEST_MANIFEST + 1)
    try:
        return parse_manifest(content, what=str(manifest)).owned
    except UsageError:
        return []


def _put_back(kept: Path, path: Path) -> bool:
    """Give an older file its name back. Return false if another file has that name."""
    with suppress(FileNotFoundError):
        if not name_if_free(kept, path):
            return path.samefile(kept)  # an earlier try died right after it had given the name
    return True


def _plain(name: Any) -> str:
    if not isinstance(name, str) or name != Path(name).name:
        raise ValueError("is no file's name")
    return name


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat(follow_symlinks=False)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
