"""Fills the library's structure of connection parameters, which matching calls allocate and free.

The strings in it belong to Python. They are kept alive until the structure is gone, and taken out before the library
frees it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vmkeep.vddk.diskaddress import DiskAddress, VmAddress, sha1_thumbprint
from vmkeep.vddk.library import Library
from vmkeep.vddk.structures import CREDENTIALS_UID, SPEC_VMX, ConnectParams

_abandoned: list[object] = []
"""Memory that the library may still read, because one of its calls never returned."""


@contextmanager
def open_params(library: Library, address: DiskAddress | VmAddress) -> Iterator[Any]:
    """Yield a pointer to the filled parameters. For a local file they are all zero."""
    pointer, own = _allocate(library)
    strings: list[bytes] = []
    try:
        _fill(pointer.contents, address, strings)
        yield pointer
    finally:
        if library.lost:
            _abandoned.append((pointer, strings))
        else:
            _empty(pointer.contents)
            if not own:
                library.call("FreeConnectParams", pointer)


def _empty(params: ConnectParams) -> None:
    params.vmxSpec = params.serverName = params.thumbPrint = None
    params.creds.uid.userName = params.creds.uid.password = None


def forget_vm(pointer: Any) -> None:
    """Take the VM out of the parameters, as VDDK's Cleanup demands."""
    pointer.contents.vmxSpec = None


def _allocate(library: Library) -> tuple[Any, bool]:
    """Return the structure, and whether Python allocated it, because the library must not free Python's memory."""
    if library.has("AllocateConnectParams") and library.has("FreeConnectParams"):
        address = library.call("AllocateConnectParams")
        if address:
            return ctypes.cast(address, ctypes.POINTER(ConnectParams)), False
    return ctypes.pointer(ConnectParams()), True


def _fill(params: ConnectParams, address: DiskAddress | VmAddress, strings: list[bytes]) -> None:
    vcenter = address.vcenter
    if vcenter is None:
        return

    def keep(text: str) -> bytes:
        strings.append(text.encode())
        return strings[-1]

    params.vmxSpec = keep(f"moref={address.vm.moref}") if address.vm else None
    params.serverName = keep(vcenter.host)
    params.thumbPrint = keep(address.thumbprint or sha1_thumbprint(vcenter))
    params.specType = SPEC_VMX
    params.credType = CREDENTIALS_UID
    params.creds.uid.userName = keep(vcenter.user)
    params.creds.uid.password = keep(vcenter.password)
    params.port = vcenter.port
