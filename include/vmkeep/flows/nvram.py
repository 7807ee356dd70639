"""Puts the NVRAM of a restore point back into a VM, or tells a person why not and what follows from it.

NVRAM holds the boot order of a BIOS, or the variables of EFI: boot entries, the keys of Secure Boot, the secrets of a
virtual TPM. vSphere encrypts the whole NVRAM of an encrypted VM. A VM with another key does not start with it.
"""

from __future__ import annotations

import logging
import time

from vmkeep.errors import CorruptError, TransientError, UnreachableError, VmKeepError
from vmkeep.lateclass import dataclass
from vmkeep.model.point import RestorePoint
from vmkeep.repository import Repository
from vmkeep.vsphere.configspec import BuiltSpec, parse_config
from vmkeep.vsphere.encryption import opens_nvram
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.vmfiles import put_nvram

NVRAM = "vm.nvram"
PUT_SECONDS = 120.0
"""Seconds during which a busy or restarting server is tried again."""
PAUSE_SECONDS = 3.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nvram:
    """The decision about one VM's NVRAM."""

    put_back: bool = True
    notes: tuple[str, ...] = ()


def in_new(repository: Repository, point: RestorePoint, built: BuiltSpec) -> Nvram:
    """Decide whether a new VM gets the NVRAM of the point."""
    new = "the new VM starts with the variables of an empty EFI: without boot entries of its own" if built.efi else ""
    return _decide(repository, point, readable=built.reads_nvram, efi=built.efi, without=new)


def over_existing(session: Session, repository: Repository, point: RestorePoint, moref: str) -> Nvram:
    """Decide whether a VM that is written over gets the NVRAM. Damaged NVRAM does not stop the restore of its disks."""
    without = "the VM keeps the NVRAM that it has"
    try:
        saved = parse_config(repository.load_attachment(point, "config.xml"))
    except CorruptError as error:
        return _left_out(f"whether the VM has the key to read it is not known ({error})", without)
    readable = opens_nvram(session, moref, saved)
    return _decide(repository, point, readable=readable, efi=saved.firmware == "efi", without=without)


def put_back(session: Session, repository: Repository, point: RestorePoint, moref: str) -> tuple[str, ...]:
    """Write the NVRAM of a VM that is off. If it cannot be written, return the reason and the consequence in words.

    All disks are written by now and are worth more than the NVRAM, so that a failure here fails no restore.
    """
    try:
        data = repository.load_attachment(point, NVRAM)
    except CorruptError as error:
        return _not_written(f"it is damaged ({error})")
    given_up = time.monotonic() + PUT_SECONDS
    while True:
        try:
            put_nvram(session, moref, data)
        except (TransientError, UnreachableError) as error:
            if time.monotonic() + PAUSE_SECONDS >= given_up:
                return _not_written(str(error))
            time.sleep(PAUSE_SECONDS)
        except VmKeepError as error:
            return _not_written(str(error))
        else:
            return ()


def _not_written(why: str) -> tuple[str, ...]:
    notes = _left_out(why, "look at the VM's firmware settings, with EFI at its boot entries, before its start").notes
    log.warning("%s", notes[0])
    return notes


def _decide(repository: Repository, point: RestorePoint, *, readable: bool, efi: bool, without: str) -> Nvram:
    if NVRAM not in point.attachments:
        return Nvram(put_back=False, notes=(f"no NVRAM is in the restore point: {without}",) if efi else ())
    if not readable:
        return _left_out("the VM has not the key to read it", without)
    try:
        repository.load_attachment(point, NVRAM)
    except CorruptError as error:
        return _left_out(f"it is damaged ({error})", without)
    return Nvram()


def _left_out(why: str, without: str) -> Nvram:
    tail = f": {without}" if without else ""
    return Nvram(put_back=False, notes=(f"the NVRAM is not put back, because {why}{tail}",))
