"""The files of a VM and their sizes, with one reading of each folder that they lie in.

A list of VMs asks for the size of each one, so the price of a VM counts thousands of times: a folder is found and
followed once, and its files are then looked at where they lie. Nothing is kept from one question to the next, because
the library that stands in for VDDK writes disks without a word to the lab.
"""

import os
from typing import Any

from vmlab.api import vim
from vmlab.managed import ds_paths
from vmlab.managed.machine import backing_chain, disks
from vmlab.managed.site import Site

FileInfo = vim.vm.FileLayoutEx.FileInfo
_ENDS_OF_A_LINK = (".vmdk", "-flat.vmdk", "-delta.vmdk", "-rdm.vmdk", "-rdmp.vmdk", "-ctk.vmdk")
"""A link is its descriptor and those of the other files that it has."""


class FileList:
    """The files of one VM that exist."""

    def __init__(self, site: Site, config: Any) -> None:
        self._site = site
        self._config = config
        self._folders: dict[tuple[str, str], dict[str, os.DirEntry[str]]] = {}

    def files(self) -> list[Any]:
        """Return each file with its kind and with the bytes that it takes."""
        found: list[Any] = []
        for path, kind in self._kinds().items():
            size = self._size(path)
            if size is not None:
                found.append(
                    FileInfo(key=len(found), name=path, type=kind, size=size, uniqueSize=size, accessible=True)
                )
        return found

    def size(self) -> int:
        """Return the bytes that all of them take."""
        return sum(self._size(path) or 0 for path in self._kinds())

    def of_link(self, path: str) -> list[str]:
        """Return the paths of the descriptor and data files of one link that exist."""
        stem = path.removesuffix(".vmdk")
        names = (path, *(stem + end for end in _ENDS_OF_A_LINK[1:]))
        return [name for name in names if self._size(name) is not None]

    def _kinds(self) -> dict[str, str]:
        """The paths of files that a VM has or may have, and their kinds."""
        vmx = self._config.files.vmPathName
        folder = ds_paths.parse(ds_paths.folder_of(vmx))
        stem = ds_paths.stem(vmx)
        kinds = {vmx: "config"}
        for name, kind in ((f"{stem}.nvram", "nvram"), (f"{stem}.vmsd", "snapshotList"), ("vmware.log", "log")):
            kinds[ds_paths.join(*folder, name)] = kind
        for disk in disks(self._config):
            for backing in backing_chain(disk.backing):
                for path in self.of_link(backing.fileName):
                    kinds[path] = "diskDescriptor" if path == backing.fileName else "diskExtent"
        return kinds

    def _size(self, path: str) -> int | None:
        """The bytes that a file takes on the datastore; None: there is no such file."""
        datastore, rest = ds_paths.parse(path)
        folder, _, name = rest.rpartition("/")
        if (datastore, folder) not in self._folders:
            self._folders[datastore, folder] = self._read(datastore, folder)
        entry = self._folders[datastore, folder].get(name)
        if entry is None:
            return None
        try:
            # a link is followed by the rule for every path, which lets none lead out of its datastore
            stat = ds_paths.local(self._site, path).stat() if entry.is_symlink() else entry.stat()
        except FileNotFoundError:
            return None  # it is a link to nothing, or was removed just now
        return stat.st_blocks * 512

    def _read(self, datastore: str, folder: str) -> dict[str, os.DirEntry[str]]:
        try:
            with os.scandir(ds_paths.local(self._site, ds_paths.join(datastore, folder))) as entries:
                return {entry.name: entry for entry in entries}
        except (FileNotFoundError, NotADirectoryError):
            return {}
