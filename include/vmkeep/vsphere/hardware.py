"""Checks whether a host supports a virtual hardware version, before a VM is made there."""

from __future__ import annotations

import re
from typing import Any

from vmkeep.errors import UnsupportedError
from vmkeep.model.fieldwords import named
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.properties import read
from vmkeep.vsphere.session import Session


def require_version(session: Session, host: str, version: str) -> None:
    """Return if a host can run VMs of a hardware version. A version without a number is left to vSphere.

    :param version: e.g. ``vmx-19``.
    :raises UnsupportedError: the version is newer than the newest that the host knows.
    """
    managed = session.managed(vim.HostSystem, host)
    with speaking(f"ask which hardware versions host {host} takes"):
        owner = read(session, managed, "parent")["parent"]
        browser = read(session, owner, "environmentBrowser")["environmentBrowser"]
        offered = browser.QueryConfigOptionDescriptor() if browser is not None else []
        here = [option.key for option in offered or () if _is_for(option, host)]
    newest = max(map(version_number, here), default=0)
    if newest and version_number(version) > newest:
        raise UnsupportedError(
            f"the VM has hardware version {version}, and the host takes at most vmx-{newest:02d}: choose a host with a "
            f"newer ESXi with {named('host')}, update this one, or lower the VM's version with "
            f"{named('hardware_version')}"
        )


def takes_version(session: Session, host: str, version: str) -> bool:
    """Return whether a host can run VMs of a hardware version."""
    try:
        require_version(session, host, version)
    except UnsupportedError:
        return False
    return True


def _is_for(option: Any, host: str) -> bool:
    """Return whether a new VM can have this version on that host. A version that lists no hosts is for all of them."""
    return option.createSupported is not False and (not option.host or host in map(moref_of, option.host))


def version_number(version: str | None) -> int:
    """Return the number of a hardware version; 0: it has none."""
    found = re.fullmatch(r"vmx-(\d+)", version or "")
    return int(found[1]) if found else 0
