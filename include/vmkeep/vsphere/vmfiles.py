"""Reads and writes a VM's .vmx file and NVRAM by HTTPS (``/folder``), on the session's pinned connection.

Files of a running VM are read from its host (:mod:`vmkeep.vsphere.hostfiles`), or from vCenter if that fails.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any
from urllib.parse import quote

from vmkeep.errors import (
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    TransientError,
    UnsupportedError,
    VmKeepError,
    VSphereError,
)
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.hostfiles import OwnHost, own_host, read_file
from vmkeep.vsphere.paths import DatastorePath, inventory_path_of
from vmkeep.vsphere.properties import read
from vmkeep.vsphere.session import Session

_HOST_DATACENTER = "ha-datacenter"
"""Name of the datacenter in the paths of an ESXi host, which has no datacenter of its own."""


class FilePlaces:
    """The places of a VM's files and its host, each looked up at its first use and kept for the next file."""

    def __init__(self, session: Session, moref: str) -> None:
        self._session = session
        self._moref = moref

    @cached_property
    def files(self) -> tuple[DatastorePath, DatastorePath, str]:
        """The paths of the .vmx file and of the NVRAM, and the path of their datacenter."""
        return _where(self._session, self._moref)

    def is_beside(self, path: DatastorePath) -> bool:
        """Return whether a file is in the folder of the VM's .vmx file."""
        folder = self.files[0].sibling("")
        return path == folder.sibling(path.path.rpartition("/")[2]) and path != folder

    @cached_property
    def datacenter(self) -> Any:
        """The datacenter that the VM's files are in; ``None``: a host without vCenter has none."""
        found = inventory_path_of(self._session, self._session.vm(self._moref)).datacenter_moref
        return None if found is None else self._session.managed(vim.Datacenter, found)

    @cached_property
    def host(self) -> OwnHost | None:
        """The host that the VM runs on."""
        return own_host(self._session, self._moref)


def fetch_vmx(session: Session, moref: str, places: FilePlaces | None = None) -> bytes:
    """Return the content of the VM's .vmx file.

    :param places: the places of this VM's files, where an earlier fetch has looked them up.
    :raises NotFoundError: there is no such file.
    """
    places = places or FilePlaces(session, moref)
    vmx, _, datacenter = places.files
    return _fetch(session, places, vmx, datacenter)


def fetch_nvram(session: Session, moref: str, places: FilePlaces | None = None) -> bytes:
    """Return the VM's NVRAM: the BIOS settings, or the EFI variables with the boot entries.

    :param places: the places of this VM's files, where an earlier fetch has looked them up.
    :raises NotFoundError: there is no such file, as before a VM's first power-on.
    """
    places = places or FilePlaces(session, moref)
    nvram, datacenter = _where_nvram(moref, places)
    return _fetch(session, places, nvram, datacenter)


def fetch_beside(session: Session, places: FilePlaces, path: DatastorePath) -> bytes:
    """Return the content of a file that vSphere has written for a VM.

    :raises NotFoundError: there is no such file.
    """
    return _fetch(session, places, path, places.files[2])


def boots_by_efi(session: Session, moref: str) -> bool:
    """Return whether a VM boots by EFI, whose boot entries are in the NVRAM."""
    with speaking(f"look at the firmware of VM {moref}"):
        return bool(read(session, session.vm(moref), "config.firmware")["config.firmware"] == "efi")


def put_nvram(session: Session, moref: str, data: bytes) -> None:
    """Write the NVRAM of a VM that is off, under the file name that the VM expects."""
    nvram, datacenter = _where_nvram(moref, FilePlaces(session, moref))
    status, _ = session.request("PUT", _url(session, nvram, datacenter), body=data)
    if status not in (200, 201, 204):
        raise _refused(status, f"write {nvram}")


def exists(session: Session, path: DatastorePath, datacenter: str) -> bool:
    """Return whether a file is there. A file that the user may not see counts as missing.

    :param datacenter: inventory path of the datacenter, without the leading slash.
    """
    status, _ = session.request("HEAD", _url(session, path, datacenter))
    return status == 200


def _fetch(session: Session, places: FilePlaces, path: DatastorePath, datacenter: str) -> bytes:
    host = places.host
    if host is None:
        return _filled(path, _get(session, path, datacenter))
    try:
        return _filled(path, read_file(session, host, path))
    except NotFoundError:
        raise
    except VmKeepError as error:
        try:
            return _filled(path, _get(session, path, datacenter))
        except VmKeepError as other:
            raise VSphereError(
                f"read {path}: the VM's own host does not give it ({error}), nor does vCenter ({other})"
            ) from None


def _filled(path: DatastorePath, data: bytes) -> bytes:
    if not data:
        raise VSphereError(f"read {path}: the file is empty")
    return data


def _get(session: Session, path: DatastorePath, datacenter: str) -> bytes:
    status, data = session.request("GET", _url(session, path, datacenter))
    if status != 200:
        raise _refused(status, f"read {path}")
    return data


def _where(session: Session, moref: str) -> tuple[DatastorePath, DatastorePath, str]:
    with speaking(f"look for the files of VM {moref}"):
        managed = session.vm(moref)
        values = read(session, managed, "config.files.vmPathName", "config.extraConfig")
        datacenter = inventory_path_of(session, managed).datacenter
    if not values["config.files.vmPathName"]:
        raise NotFoundError(f"VM {moref} has no readable configuration file")
    vmx = DatastorePath.parse(values["config.files.vmPathName"])
    settings = {str(setting.key).lower(): setting.value for setting in values["config.extraConfig"] or ()}
    name = str(settings.get("nvram") or vmx.path.rpartition("/")[2].removesuffix(".vmx") + ".nvram")
    return vmx, vmx.sibling(name), datacenter


def _where_nvram(moref: str, places: FilePlaces) -> tuple[DatastorePath, str]:
    """Return the path of the VM's NVRAM, and the path of its datacenter.

    :raises UnsupportedError: the NVRAM is not in the VM's own folder, so that it may be another VM's file.
    """
    vmx, nvram, datacenter = places.files
    name = nvram.path.removeprefix(vmx.sibling("").path)
    if "/" in name or name in (".", ".."):
        raise UnsupportedError(
            f"VM {moref}: its setting nvram names {name!r}, which is no file in the folder of the VM"
        )
    return nvram, datacenter


def _url(session: Session, path: DatastorePath, datacenter: str) -> str:
    places = {"dcPath": datacenter if session.is_vcenter else _HOST_DATACENTER, "dsName": path.datastore}
    query = "&".join(f"{key}={_encoded(name, twice=session.is_vcenter)}" for key, name in places.items())
    return f"/folder/{quote(path.path)}?{query}"


_MEAN_SOMETHING = frozenset("+&%#=?;")
"""Characters with a meaning in a query. vCenter decodes a name once more on its way to a host."""


def _encoded(name: str, *, twice: bool) -> str:
    once = quote(name, safe="")
    return quote(once, safe="") if twice and _MEAN_SOMETHING & set(name) else once


def _refused(status: int, what: str) -> Exception:
    if status == 404:
        return NotFoundError(f"{what}: there is no such file")
    if status == 401:
        return AuthenticationError(f"{what}: the session is not logged in, and logging in again did not help")
    if status == 403:
        privilege = "Datastore.FileManagement"
        return PermissionDeniedError(
            f"{what}: the user lacks a privilege, most likely {privilege} on the datastore", privilege=privilege
        )
    if status >= 500:
        return TransientError(f"{what}: the server answers HTTP {status}")
    return VSphereError(f"{what}: the server answers HTTP {status}")
