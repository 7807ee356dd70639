"""Finds out whether a place is free for a new repository: it has no foreign files and no rest of an old repository."""

from __future__ import annotations

import re

from vmkeep.blobs import RESERVE, TEMPORARY, BlobStore, top_names
from vmkeep.errors import RepositoryError
from vmkeep.repository import folders
from vmkeep.repository.folders import KEYS, PROBES
from vmkeep.repository.unlock.descriptor import KEY, require_absent
from vmkeep.repository.unlock.slots import is_slot

_PROBE = re.compile(r"probes/[0-9a-f]+")
_SHOWN = 5
_OF_AN_INIT = {TEMPORARY, KEY, *(folder.rstrip("/") for folder in folders.INITIAL)}
"""Names that an interrupted ``init`` may have left; :func:`require_absent` looks for the descriptor itself."""
_OF_A_REPOSITORY = {RESERVE, *(folder.rstrip("/") for folder in folders.FULL)}
_OF_THE_SERVER = {
    "lost+found", ".snapshot", ".snapshots", ".zfs", "#snapshot", "#recycle", "@eaDir", ".etc",
    "System Volume Information", "$RECYCLE.BIN",
}  # fmt: skip
"""Names that file systems and file servers create in the topmost folder."""


def require_vacant(store: BlobStore) -> None:
    """Return if a repository can be created here, also after an interrupted attempt. Change nothing.

    :raises RepositoryError: a repository is there, or one without its descriptor, or other files are there.
    """
    require_absent(store)
    names = top_names(store)
    if of_old := sorted(names & _OF_A_REPOSITORY):
        raise RepositoryError(
            f"{store.location}: holds a repository ({_shown(of_old)}) whose {KEY} is missing; nothing was changed: put "
            f"the {KEY} back, or name an empty folder"
        )
    foreign = sorted(names - _OF_AN_INIT - _OF_A_REPOSITORY - _OF_THE_SERVER)
    if foreign := foreign + _files_beside_ours(store, names):
        raise RepositoryError(
            f"{store.location}: is not empty ({_shown(foreign)}); nothing was changed: a repository takes a folder of "
            "its own, so name an empty one"
        )


def _files_beside_ours(store: BlobStore, names: set[str]) -> list[str]:
    """Return foreign files in the folders that an interrupted ``init`` may have left."""
    found = [blob.key for blob in store.list(KEYS) if not is_slot(store, blob.key)] if "keys" in names else []
    if "probes" in names:
        found += [blob.key for blob in store.list(PROBES) if not _PROBE.fullmatch(blob.key)]
    return found


def _shown(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
