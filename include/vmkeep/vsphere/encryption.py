"""Finds out which of the keys with which a saved VM and its disks were encrypted a vCenter can use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vmkeep.vsphere.advancedsettings import ENCRYPTION_BUNDLE
from vmkeep.vsphere.api import vim, vmodl
from vmkeep.vsphere.claims import values_by_key
from vmkeep.vsphere.disks import KeyName, name_of_key
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.properties import read
from vmkeep.vsphere.rights import On, Purpose, When
from vmkeep.vsphere.rightscheck import missing_when
from vmkeep.vsphere.session import Session

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
