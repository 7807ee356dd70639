"""Drafts of exports in a folder: the note in each of them, and the removal of those that dead processes left.

A draft is a hidden folder. Its note tells which process writes it, and is locked as long as the process lives.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from vmkeep.clock import now
from vmkeep.images.localnames import Naming
from vmkeep.processes import ABANDONED_AFTER, boot

_DRAFT: Final = ".vmkeep-{}.partial"
_NOTE: Final = ".note"
_LONGEST_NOTE: Final = 16 << 20


def new_draft(folder: Path) -> Path:
    """Return the path of a new draft in a folder."""
    return folder / _DRAFT.format(secrets.token_hex(8))


def drafts_in(folder: Path) -> Iterator[Path]:
    """Yield what has the name of a draft in a folder."""
    return folder.glob(_DRAFT.format("*"))


def write_note(hidden: Path, name: str) -> int:
    """Create a draft's note and lock it. Return its file descriptor."""
    note = os.open(hidden / _NOTE, os.O_RDWR | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        locked = True
        try:
            fcntl.flock(note, fcntl.LOCK_EX)
        except OSError:  # a file system without locks: only the age of its files tells that a draft is abandoned
            locked = False
        content = {"name": name, "process": os.getpid(), "boot": boot() if locked else ""}
        os.pwrite(note, json.dumps(content).encode(), 0)
        os.fsync(note)
    except OSError:
        os.close(note)
        raise
    return note


def note_naming(note: int, naming: Naming | None) -> None:
    """Note which files are about to get names, so that the next export can undo it if this process dies.

    :param note: descriptor of the draft's note.
    :param naming: ``None``: all files have their names, and there is nothing to undo any more.
    """
    content = json.dumps(_read_note(note) | {"naming": naming and naming.encode()}).encode()
    os.pwrite(note, content, 0)
    os.ftruncate(note, len(content))
    os.fsync(note)


def living_drafts(folder: Path, but: Path | None = None) -> set[str]:
    """Remove abandoned drafts. Return the names of the exports that others are writing."""
    found = set()
    for hidden in drafts_in(folder):
        with suppress(OSError):  # it is gone, or another user's
            if hidden != but and hidden.is_dir() and not hidden.is_symlink() and (name := _look_at(folder, hidden)):
                found.add(name)
    return found


def _look_at(folder: Path, hidden: Path) -> str | None:
    """Remove a draft if it is abandoned. Return the name of its export if it is not."""
    try:
        note = os.open(hidden / _NOTE, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:  # its process has not written the note yet, or died before it could
        if _silent_since(hidden) > ABANDONED_AFTER:
            shutil.rmtree(hidden, ignore_errors=True)
        return None
    try:
        try:
            fcntl.flock(note, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return str(_read_note(note).get("name", ""))
        content = _read_note(note)  # behind the lock, because its process may have written it until then
        if (not content.get("boot") or content["boot"] != boot()) and _silent_since(hidden) <= ABANDONED_AFTER:
            return str(content.get("name", ""))
        naming = Naming.decode(content.get("naming"))
        if naming is None or naming.undo_of_dead(folder, hidden):
            shutil.rmtree(hidden, ignore_errors=True)
        return None
    finally:
        os.close(note)


def _read_note(note: int) -> dict[str, object]:
    """Return a note's fields; none, if its process died while it wrote them."""
    try:
        parsed = json.loads(os.pread(note, _LONGEST_NOTE, 0))
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _silent_since(hidden: Path) -> float:
    """Return the seconds since something in a draft was written."""
    newest = max((path.stat().st_mtime for path in (hidden, *hidden.iterdir())), default=0.0)
    return now().timestamp() - newest
