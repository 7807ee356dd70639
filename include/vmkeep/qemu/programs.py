"""Finds QEMU, its helpers and its EFI firmware on this machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from vmkeep.errors import UnsupportedError
from vmkeep.lateclass import dataclass

_QEMU = ("qemu-system-x86_64", "/usr/libexec/qemu-kvm")
_FIRMWARE = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ("/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin"),
)
"""Code and empty variables, as Debian, Fedora, Arch and SUSE name them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EfiFiles:
    """EFI firmware for QEMU."""

    code: Path
    variables: Path
    """The template of a machine's own variables. Each machine gets a copy."""


def find_qemu() -> str:
    """Return the path of QEMU for PCs.

    :raises UnsupportedError: it is not installed.
    """
    for name in _QEMU:
        if (found := shutil.which(name)) is not None:
            return found
    raise UnsupportedError(
        "QEMU is not installed on this machine: install qemu-system-x86 (Debian, Ubuntu) or qemu-kvm (Red Hat)"
    )


def find_setpriv() -> str:
    """Return the path of the program that makes a process end with the one that started it.

    :raises UnsupportedError: it is not installed.
    """
    if (found := shutil.which("setpriv")) is None:
        raise UnsupportedError("setpriv is not installed on this machine: install util-linux")
    return found


def find_efi() -> EfiFiles:
    """Return the EFI firmware.

    :raises UnsupportedError: it is not installed.
    """
    for code, variables in _FIRMWARE:
        if os.access(code, os.R_OK) and os.access(variables, os.R_OK):
            return EfiFiles(code=Path(code), variables=Path(variables))
    raise UnsupportedError(
        "the machine boots by EFI, and no EFI firmware for QEMU is installed here: install ovmf (Debian, Ubuntu) or "
        "edk2-ovmf (Red Hat, SUSE, Arch)"
    )
