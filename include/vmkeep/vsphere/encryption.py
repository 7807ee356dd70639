"""Finds out whether a vCenter can use the key with which a saved VM was encrypted."""

from __future__ import annotations

from typing import Any

from vmkeep.vsphere.advancedsettings import ENCRYPTION_BUNDLE
from vmkeep.vsphere.api import vim, vmodl
from vmkeep.vsphere.claims import values_by_key
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.properties import read
from vmkeep.vsphere.rights import On, Purpose, When
from vmkeep.vsphere.rightscheck import missing_when
from vmkeep.vsphere.session import Session

_AVAILABLE = 1
"""The bit of ``checkKeyBitMap`` that asks whether a key is available."""


def can_encrypt(session: Session, folder: Any, key: Any) -> bool:
    """Return whether a new VM in a folder can be encrypted with a saved VM's key.

    This needs the same key provider here, and rights. If either is not known, the answer is no.
    """
    manager = session.content.cryptoManager
    if key is None or key.providerId is None or not isinstance(manager, vim.encryption.CryptoManagerKmip):
        return False
    if missing_when(
        session, Purpose.RESTORE_NEW, When.ENCRYPTED, {On.ROOT: session.content.rootFolder, On.FOLDER: folder}
    ):
        return False
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
