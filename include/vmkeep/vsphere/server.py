"""Identifies the server of a session, because a managed object id means nothing without its server."""

from __future__ import annotations

from vmkeep.vsphere.api import vim
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.properties import read_all
from vmkeep.vsphere.session import Session


def server_uuid(session: Session) -> str | None:
    """Return the vCenter's instance UUID, or an ESXi host's hardware UUID; ``None``: the server tells neither."""
    if session.instance_uuid or session.is_vcenter:
        return session.instance_uuid or None
    with speaking(f"ask {session.host} which host it is"):
        hosts = read_all(session, vim.HostSystem, "summary.hardware.uuid")
    found = [values["summary.hardware.uuid"] for _, values in hosts]
    return found[0] or None if len(found) == 1 else None
