"""Finds out which of the keys with which a saved VM and its disks were encrypted a vCenter can use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vmkeep.errors import ConflictError
from vmkeep.model.fieldwords import named
from vmkeep.model.purpose import Purpose
from vmkeep.vsphere.advancedsettings import ENCRYPTION_BUNDLE
from vmkeep.vsphere.api import vim, vmodl
from vmkeep.vsphere.disks import KeyName, name_of_key
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.properties import read
from vmkeep.vsphere.rights import On, When
from vmkeep.vsphere.rightscheck import missing_when
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.vmsettings import values_by_key

_AVAILABLE = 1
"""The bit of ``checkKeyBitMap`` that asks whether a key is available."""


def usable_keys(session: Session, folder: Any, keys: Iterable[Any]) -> frozenset[KeyName]:
    """Return those of some keys with which a new VM in a folder, or its disks, can be encrypted.

    This needs the same key provider here, and rights. A key of which that is not known is left out.

    :param keys: as vSphere tells them; ``None`` stands for a part that was not encrypted.
    """
    manager = session.content.cryptoManager
    wanted = {name: key for key in keys if (name := name_of_key(key)) is not None}
    if not wanted or not isinstance(manager, vim.encryption.CryptoManagerKmip):
        return frozenset()
    if missing_when(
        session, Purpose.RESTORE_NEW, When.ENCRYPTED, {On.ROOT: session.content.rootFolder, On.FOLDER: folder}
    ):
        return frozenset()
    return frozenset(name for name, key in wanted.items() if _is_available(manager, key))


def _is_available(manager: Any, key: Any) -> bool:
    with speaking(f"ask for key {key.keyId}"):
        try:
            answers = manager.QueryCryptoKeyStatus([key], _AVAILABLE)
        except (vmodl.fault.InvalidArgument, vmodl.fault.NotSupported):
            return False  # this vCenter knows no such provider
    return any(bool(answer.keyAvailable) for answer in answers or ())


def require_unlocked(session: Session, moref: str, name: str) -> None:
    """Return unless a VM is encrypted and its host lacks the key, so that nobody can open the VM or its disks.

    :param name: the VM, for people.
    :raises ConflictError: the VM is locked.
    """
    with speaking(f"look at the encryption of VM {name}"):
        values = read(session, session.vm(moref), "runtime", "config.keyId")
    # Read as a whole, because a vCenter before 6.7 refuses the name of the member, which it does not know.
    if getattr(values["runtime"], "cryptoState", None) == "locked":
        key = values["config.keyId"]
        provider = key.providerId.id if key is not None and key.providerId is not None else "unknown"
        told = f"key {key.keyId} of key provider {provider}" if key is not None else "its key"
        raise ConflictError(
            f"VM {name} is encrypted and locked, because its host does not have {told}: make the key provider "
            f"reachable in vCenter and unlock the VM, or restore to a new VM with {named('new_name')}"
        )


def opens_nvram(session: Session, moref: str, saved: Any) -> bool:
    """Return whether an existing VM can read the NVRAM of a saved VM.

    It can if neither VM is encrypted, or if both are encrypted with the bundle of one key.
    """
    with speaking(f"look at the encryption of VM {moref}"):
        now = read(session, session.vm(moref), "config.keyId", "config.extraConfig")
    before = (saved.keyId is not None, _bundle(saved.extraConfig))
    return before == (now["config.keyId"] is not None, _bundle(now["config.extraConfig"]))


def _bundle(settings: Any) -> str | None:
    return values_by_key(settings).get(ENCRYPTION_BUNDLE)
