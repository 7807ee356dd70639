"""Writes a fitted machine down as QEMU's arguments."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from vmkeep.model.portable import Firmware
from vmkeep.qemu.accelerators import Accelerator
from vmkeep.qemu.controllers import controller_arguments, disk_arguments
from vmkeep.qemu.fitting import Display, DisplayKind, Drive, Fitted
from vmkeep.qemu.programs import find_efi

_VNC_BASE = 5900


def qemu_arguments(
    fitted: Fitted,
    drives: Mapping[int, Drive],
    *,
    accelerator: Accelerator,
    folder: Path,
    control: int,
    serial: int,
) -> Sequence[str]:
    """Return the arguments of QEMU.

    :param drives: the NBD export of each disk, by device key.
    :param folder: a private folder, in which the firmware's variables of this machine are kept.
    :param control: descriptor of the socket for QMP, which QEMU inherits.
    :param serial: descriptor of the socket for the serial port.
    """
    return (
        *_machine(fitted, accelerator),
        *(_efi(folder) if fitted.firmware is Firmware.EFI else ()),
        *("-chardev", f"socket,id=control,fd={control}", "-mon", "chardev=control,mode=control"),
        *("-chardev", f"socket,id=serial,fd={serial}", "-serial", "chardev:serial"),
        *controller_arguments(fitted.placed),
        *_disks(fitted, drives),
        *_network(fitted),
        *_display(fitted.display),
    )


def _machine(fitted: Fitted, accelerator: Accelerator) -> Iterator[str]:
    """Yield the machine itself: Intel's 440BX chipset, as vSphere's machines have it."""
    yield from ("-name", f"guest={_escaped(fitted.name)}", "-nodefaults", "-no-user-config")
    yield from ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
    yield from ("-machine", "pc,vmport=off", "-accel", accelerator)
    yield from ("-cpu", "host" if accelerator is Accelerator.KVM else "max")
    yield from ("-m", str(fitted.memory_mib), "-smp", str(fitted.cpus), "-rtc", "base=utc,driftfix=slew")
    if fitted.uuid:
        yield from ("-uuid", fitted.uuid)
    yield from ("-vga", "std", "-device", "piix3-usb-uhci", "-device", "usb-tablet")


def _efi(folder: Path) -> Iterator[str]:
    files = find_efi()
    own = folder / "variables.fd"
    shutil.copyfile(files.variables, own)
    for path, read_only in ((files.code, "on"), (own, "off")):
        yield from ("-drive", f"if=pflash,format=raw,readonly={read_only},file={_escaped(str(path))}")


def _disks(fitted: Fitted, drives: Mapping[int, Drive]) -> Iterator[str]:
    for index, placed in enumerate(fitted.placed):
        drive = drives[placed.disk.key]
        node = f"disk{index}"
        description = {
            "driver": "nbd", "node-name": node, "export": drive.export, "discard": "unmap", "detect-zeroes": "on",
            "server": {"type": "unix", "path": str(drive.socket)},
        }  # fmt: skip
        yield from ("-blockdev", json.dumps(description))
        yield from disk_arguments(placed, node, boot_index=index + 1)


def _network(fitted: Fitted) -> Iterator[str]:
    if not fitted.nics:
        yield from ("-nic", "none")
    for index, (model, mac) in enumerate(fitted.nics):
        yield from ("-netdev", f"user,id=net{index}")
        yield from ("-device", f"{model},netdev=net{index}" + (f",mac={mac}" if mac else ""))


def _display(display: Display) -> Iterator[str]:
    if display.kind is DisplayKind.VNC:
        yield from ("-display", "none", "-vnc", f"127.0.0.1:{display.number}")
    else:
        yield from ("-display", display.kind)


def vnc_port(display: Display) -> int | None:
    """Return the TCP port of a display; ``None``: it is no VNC display."""
    return _VNC_BASE + display.number if display.kind is DisplayKind.VNC else None


def _escaped(text: str) -> str:
    """Return a text as a value in one of QEMU's lists, in which a comma is doubled."""
    return "".join(each if each.isprintable() else "_" for each in text).replace(",", ",,")
