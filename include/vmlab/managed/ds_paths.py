"""Datastore paths, `[datastore1] folder/file.vmdk`, and the files of this machine they stand for.

No path leads out of its datastore.
"""

from pathlib import Path
from typing import Any

from vmlab.api import vim
from vmlab.disks import split_path
from vmlab.managed.site import Site


def parse(path: str) -> tuple[str, str]:
    """`[ds] a/b` → ("ds", "a/b"). Raises the InvalidDatastorePath fault for anything else or a `..` segment."""
    found = split_path(path)
    rest = found[1].strip("/") if found else ""
    if found is None or ".." in rest.split("/") or "\0" in rest:
        raise vim.fault.InvalidDatastorePath(datastorePath=path, msg=f"Invalid datastore path '{path}'.")
    return found[0], rest


def join(datastore: str, *parts: str) -> str:
    """("ds", "a", "b") → `[ds] a/b`."""
    rest = "/".join(part.strip("/") for part in parts if part)
    return f"[{datastore}] {rest}" if rest else f"[{datastore}]"


def folder_of(path: str) -> str:
    """The datastore path of the folder a file lies in."""
    datastore, rest = parse(path)
    return join(datastore, rest.rpartition("/")[0])


def base_name(path: str) -> str:
    """`[ds] a/b.vmdk` → `b.vmdk`."""
    return parse(path)[1].rpartition("/")[2]


def stem(path: str) -> str:
    """`[ds] a/b.vmdk` → `b`."""
    return base_name(path).rpartition(".")[0]


def root_of(site: Site, datastore: str) -> Path:
    """The local folder of a datastore."""
    return site.folder / "datastores" / datastore


def local(site: Site, path: str) -> Path:
    """The local file of a datastore path. Raises the InvalidDatastorePath and InvalidDatastore faults."""
    name, rest = parse(path)
    datastore_named(site, name)
    root = root_of(site, name).resolve()
    found = (root / rest).resolve()
    if found != root and root not in found.parents:
        raise vim.fault.InvalidDatastorePath(datastorePath=path, msg=f"Invalid datastore path '{path}'.")
    return found


def datastore_named(site: Site, name: str) -> Any:
    """The datastore with that name. Raises the InvalidDatastore fault."""
    with site.world.lock:
        for ref in site.world.all(vim.Datastore):
            if site.world.get(ref, "name") == name:
                return ref
    raise vim.fault.InvalidDatastore(name=name, msg=f"no datastore named '{name}'")
