"""Makes and parses inventory paths and datastore paths. Calls nothing but property reads."""

from __future__ import annotations

from typing import Any, NamedTuple

from vmkeep.errors import UnsupportedError
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.properties import read, read_chain
from vmkeep.vsphere.session import Session


class InventoryPath(NamedTuple):
    """An object's inventory path, and the path of its datacenter, which URLs of files call ``dcPath``."""

    path: str
    datacenter: str
    datacenter_moref: str | None

    @property
    def as_shown(self) -> str:
        """The path that vSphere's clients show, without the datacenter's folder ``vm``, ``host`` or the like."""
        hidden, slash, rest = self.path.removeprefix(f"/{self.datacenter}/").partition("/")
        return f"/{self.datacenter}{slash}{rest}" if self.datacenter and hidden else self.path


_UPWARDS = {
    vim.VirtualMachine: ("parent", "parentVApp"),
    vim.VirtualApp: ("parentFolder", "parentVApp", "parent"),
}
"""Properties that lead up from an object; the first one that is set counts. For any other type it is ``parent``."""
UPWARDS = (
    (vim.ManagedEntity, "parent"),
    *((kind, name) for kind, names in _UPWARDS.items() for name in names if name != "parent"),
)
"""The same properties, each with the type that declares it."""


def inventory_path_of(session: Session, entity: Any) -> InventoryPath:
    """Walk up from an object to the root. Names stay encoded, so that ``/`` always separates them.

    A VM in a vApp has no parent. Its path leads through its vApp, which stands in the VM folder of the outermost vApp.

    :raises vim.fault.NoPermission: the user may not see the object, or one that it is in.
    """
    names: list[str] = []
    datacenter_at, datacenter_moref = None, None
    current = entity
    values: dict[str, Any]
    known = read_chain(session, entity, UPWARDS, "name")
    while current is not None:
        paths = ("name", *_UPWARDS.get(type(current), ("parent",)))
        # An object is missing there if the user may not read all of it. Reading it by itself may raise its fault.
        found = known.get(moref_of(current))
        values = read(session, current, *paths) if found is None else {path: found.get(path) for path in paths}
        if values["name"] is None:
            raise vim.fault.NoPermission(object=current, privilegeId="System.View")
        above = next((values[path] for path in values if path != "name" and values[path] is not None), None)
        if above is None:
            break  # because the root folder's name is in no path
        if isinstance(current, vim.Datacenter):
            datacenter_at, datacenter_moref = len(names), moref_of(current)
        names.append(values["name"])
        current = above
    if datacenter_at is None:
        return InventoryPath("/" + "/".join(reversed(names)), "", None)
    return InventoryPath("/" + "/".join(reversed(names)), "/".join(reversed(names[datacenter_at:])), datacenter_moref)


class DatastorePath(NamedTuple):
    """The parts of a datastore path, ``[datastore] folder/file``."""

    datastore: str
    path: str

    @classmethod
    def parse(cls, text: str) -> DatastorePath:
        """Parse a datastore path.

        :raises UnsupportedError: the text is none.
        """
        found = parse_path(text)
        if found is None:
            raise UnsupportedError(f"not a datastore path: {text!r}")
        return found

    def sibling(self, name: str) -> DatastorePath:
        """Return the path of another file in the same folder."""
        folder, slash, _ = self.path.rpartition("/")
        return DatastorePath(self.datastore, f"{folder}{slash}{name}")

    def __str__(self) -> str:
        """The datastore path as vSphere writes it."""
        return f"[{self.datastore}] {self.path}" if self.path else f"[{self.datastore}]"


def parse_path(text: str) -> DatastorePath | None:
    """Parse a datastore path; ``None``: the text is none, such as ``[] /vmimages/…``, the path of an image of Tools.

    Names of datastores and files may hold brackets and blanks. The datastore's name ends where all its brackets are
    closed and a blank follows; or else at the first closing bracket before a blank, or at the first closing bracket.
    """
    if not text.startswith("["):
        return None
    closing = [at for at, letter in enumerate(text) if letter == "]"]
    ends = [at for at in closing if text[at + 1 : at + 2] in ("", " ")] or closing[:1]
    balanced = (at for at in ends if text.count("[", 0, at) == text.count("]", 0, at + 1))
    end = next(balanced, next(iter(ends), 0))
    return DatastorePath(text[1:end], text[end + 1 :].removeprefix(" ")) if end > 1 else None
