"""Finds the one object that a person names, among those that could be meant, and words what there is instead.

A folder, resource pool, host, datastore or network is named as ``vmkeep target`` shows it: by its name, by its
inventory path, by the path that vSphere's clients show, or by its managed object id, in this order.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum
from typing import Any

from vmkeep.errors import AmbiguousError, NotFoundError
from vmkeep.vsphere.api import moref_of
from vmkeep.vsphere.names import decode_name, same_path
from vmkeep.vsphere.paths import inventory_path_of
from vmkeep.vsphere.session import Session

_NEAR = 5
"""Number of similar names that a message suggests."""
_LISTED = 10
"""Number of names that a message lists if none is similar."""


class Named(StrEnum):
    """The kinds of object that a person names for a new VM."""

    FOLDER = "VM folder"
    POOL = "resource pool"
    HOST = "host"
    DATASTORE = "datastore"
    NETWORK = "network"

    @property
    def lister(self) -> str:
        """The command that lists all objects of this kind."""
        return f"vmkeep target {self.value.rpartition(' ')[2]}s"


def one_named(
    session: Session,
    kind: Named,
    wanted: str,
    known: Sequence[tuple[str, Any]],
    *,
    where: str = "",
    leaving_out: Collection[str] = (),
) -> Any:
    """Return the one known object that is meant. A name may look like a path.

    :param known: the objects that could be meant, each with its name as people read it.
    :param where: ends the sentence that there is no such object: `` in /Lab``.
    :param leaving_out: names that no message suggests.
    :raises NotFoundError: no object is meant. The message suggests the nearest names.
    :raises AmbiguousError: several objects are meant. The message lists their paths.
    """
    there = at_path(session, wanted) if wanted.startswith("/") else None
    by_path = moref_of(there) if there is not None else None
    found = [thing for name, thing in known if name == wanted or moref_of(thing) == by_path]
    if not found and wanted.startswith("/"):
        found = _shown_at(session, wanted, known)
    if not found:
        found = [thing for _, thing in known if moref_of(thing) == wanted]
    if not found:
        elsewhere = f" ({wanted} exists, but not there)" if there is not None and where else ""
        names = {name for name, _ in known if name not in leaving_out}
        raise NotFoundError(f"no {kind} '{wanted}'{where}{elsewhere}; {instead(kind, wanted, names)}")
    if len(found) > 1:
        shown = sorted(f"{inventory_path_of(session, thing).path} ({moref_of(thing)})" for thing in found)
        raise AmbiguousError(
            f"{len(found)} {kind}s are named '{wanted}'; give the path or the id of one: {', '.join(shown)}"
        )
    return found[0]


def instead(kind: Named, wanted: str, known: Iterable[str], *, there_are: str = "there are") -> str:
    """Word what could be meant by a name that does not exist: the nearest names, or else the first ones.

    :param known: the names that exist.
    :param there_are: begins the list of names, if none is similar.
    """
    names = sorted(set(known))
    if near := nearest(wanted.rpartition("/")[2] if wanted.startswith("/") else wanted, names):
        return f"near: {near}; all: {kind.lister}"
    more = f", and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{there_are} {', '.join(names[:_LISTED]) or 'none'}{more}; all: {kind.lister}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return up to five known names that look like ``name``, as one phrase; empty: none does."""
    folded: dict[str, list[str]] = {}
    for candidate in known:
        folded.setdefault(candidate.casefold(), []).append(candidate)
    wanted = name.casefold()
    alike = difflib.get_close_matches(wanted, folded, n=_NEAR, cutoff=0.6)
    inside = sorted(fold for fold in folded if wanted in fold)
    near = [candidate for fold in dict.fromkeys([*alike, *inside]) for candidate in folded[fold]]
    return ", ".join(f"'{candidate}'" for candidate in near[:_NEAR])


def at_path(session: Session, path: str) -> Any:
    """Return the object with exactly this inventory path; ``None``: there is none."""
    found = session.content.searchIndex.FindByInventoryPath(path)
    return found if found is not None and same_path(path, inventory_path_of(session, found).path) else None


def _shown_at(session: Session, path: str, known: Sequence[tuple[str, Any]]) -> list[Any]:
    """Return the known objects that vSphere's clients show at a path, because they leave out a hidden folder."""
    name = decode_name(path.rpartition("/")[2])
    alike = [thing for known_name, thing in known if known_name == name]
    return [thing for thing in alike if same_path(path, inventory_path_of(session, thing).as_shown)]
