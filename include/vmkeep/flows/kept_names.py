"""Keeps with a point the names behind the ids in its VM's configuration. A failure here fails no backup."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from vmkeep.errors import VmKeepError
from vmkeep.model.disk import Disk
from vmkeep.model.job import to_json
from vmkeep.model.references import ATTACHMENT, NONE_KEPT, NamedPolicy, NamedTag, References
from vmkeep.vsphere.policies import read_policies
from vmkeep.vsphere.references import read_attributes, read_references
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.vmtags import read_vm_tags


def kept_names(session: Session, moref: str, disks: Iterable[Disk], warnings: list[str]) -> dict[str, bytes]:
    """Return the document of names as an attachment; nothing if the configuration has no id to name.

    :param warnings: receives a sentence for each kind of name that could not be read.
    """
    found = replace(
        _networks(session, moref, warnings),
        policies=_policies(session, moref, disks, warnings),
        attributes=_attributes(session, moref, warnings),
        tags=_tags(session, moref, warnings),
    )
    return {ATTACHMENT: to_json(found)} if found != NONE_KEPT else {}


def _networks(session: Session, moref: str, warnings: list[str]) -> References:
    try:
        found, unnamed = read_references(session, moref)
    except VmKeepError as error:
        warnings.append(f"the names of the VM's networks are not in the restore point: {error}")
        return NONE_KEPT
    if unnamed:
        warnings.append(
            f"the network's name is not in the restore point, because it may not be read: {', '.join(unnamed)}; in "
            "another vCenter it has to be mapped"
        )
    return found


def _attributes(session: Session, moref: str, warnings: list[str]) -> tuple[tuple[str, str], ...]:
    try:
        return read_attributes(session, moref)
    except VmKeepError as error:
        warnings.append(f"the VM's custom attributes are not in the restore point: {error}")
        return ()


def _tags(session: Session, moref: str, warnings: list[str]) -> tuple[NamedTag, ...]:
    try:
        return read_vm_tags(session, moref)
    except VmKeepError as error:
        warnings.append(f"the VM's tags are not in the restore point: {error}")
        return ()


def _policies(session: Session, moref: str, disks: Iterable[Disk], warnings: list[str]) -> tuple[NamedPolicy, ...]:
    try:
        return read_policies(session, moref, [disk.key for disk in disks])
    except VmKeepError as error:
        warnings.append(f"the VM's storage policies are not in the restore point: {error}")
        return ()
