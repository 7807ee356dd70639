"""The directories that a VM keeps outside of its own folder: for logs, for snapshots, and for its suspended memory.

vSphere makes no such directory. A new VM with a directory that does not exist might not start, so each is looked for
before anything is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vmkeep.errors import NotFoundError, UsageError
from vmkeep.lateclass import dataclass
from vmkeep.model.fieldwords import named
from vmkeep.vsphere.paths import DatastorePath, parse_path
from vmkeep.vsphere.places import Place
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.storenames import stored_datastore
from vmkeep.vsphere.vmfiles import exists

_MEMBERS = {"log": "logDirectory", "suspend": "suspendDirectory", "snapshot": "snapshotDirectory"}
"""The kinds of directory, and the member of a VM's ``files`` for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Directories:
    """Datastore paths of a VM's directories outside of its own folder; ``None``: it keeps those files beside it."""

    log: str | None = None
    suspend: str | None = None
    snapshot: str | None = None
    notes: tuple[str, ...] = ()
    """One sentence for each saved directory that a new VM does not get."""

    @property
    def settled(self) -> tuple[tuple[str, str], ...]:
        """The directories, each by the words for it."""
        found = ((f"{kind} directory", getattr(self, kind)) for kind in _MEMBERS)
        return tuple((what, path) for what, path in found if path is not None)


def own_directories(config: Any) -> Directories:
    """Return the directories of a saved VM that are outside of its own folder."""
    own = {kind: _outside(config, getattr(config.files, name)) for kind, name in _MEMBERS.items()}
    return Directories(log=own["log"], suspend=own["suspend"], snapshot=own["snapshot"])


def _outside(config: Any, directory: str | None) -> str | None:
    """Return a directory; ``None``: there is none, or it is in the VM's folder, which a new VM has under a new name."""
    home, path = parse_path(config.files.vmPathName or ""), parse_path(directory or "")
    if path is None or home is None:
        return None
    folder = home.path.rpartition("/")[0]
    inside = path.datastore == home.datastore and f"{path.path.rstrip('/')}/".startswith(f"{folder}/")
    return None if inside else str(path)


def settle_directories(session: Session, place: Place, config: Any, *, keep: bool) -> Directories:
    """Return the directories of a new VM: those that a person asks for, or else the saved ones.

    :param keep: the new VM takes the place of the saved one, so that it may have that one's directories.
    :raises NotFoundError: a directory that a person asks for does not exist.
    """
    saved = own_directories(config)
    notes: list[str] = []
    found: dict[str, str | None] = {}
    for name in _MEMBERS:
        asked, old = getattr(place.request, f"{name}_directory"), getattr(saved, name)
        found[name] = _asked(session, place, name, asked) if asked is not None else None
        if asked is None and old is not None:
            found[name] = old if keep and _is_there(session, place, DatastorePath.parse(old)) else None
            notes.extend(_lost(name, old, keep=keep) if found[name] is None else ())
    return Directories(**found, notes=tuple(notes))


def _lost(name: str, old: str, *, keep: bool) -> Iterator[str]:
    why = "it is not there" if keep else "it is that of the VM that was backed up"
    yield (
        f"not taken over: its {name} directory {old}, because {why}; it is beside the VM's own files, and "
        f"{named(f'{name}_directory')} names another one"
    )


def _asked(session: Session, place: Place, name: str, asked: str) -> str:
    path = parse_path(asked)
    if path is None or not path.path.strip("/"):
        raise UsageError(f"{name} directory '{asked}': write it as in '[datastore1] folder'")
    stored = stored_datastore(place, path.datastore, what=f"{name} directory '{asked}': ")
    there = DatastorePath(stored, path.path.rstrip("/"))
    if not _is_there(session, place, there):
        raise NotFoundError(
            f"{name} directory {there}: there is no such folder, or the user may not browse the datastore; vSphere "
            "makes none, so make it first, or leave it out"
        )
    return str(there)


def _is_there(session: Session, place: Place, path: DatastorePath) -> bool:
    if path.datastore not in place.datastores:
        return False
    # With a slash at its end, the path of a file is the path of nothing.
    folder = DatastorePath(path.datastore, f"{path.path.rstrip('/')}/")
    return exists(session, folder, place.datacenter_path)
