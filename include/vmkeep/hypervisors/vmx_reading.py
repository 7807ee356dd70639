"""Reads a ``.vmx`` file of VMware Workstation, Player, Fusion or GSX Server: the machine, and its disks' files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from vmkeep.errors import UnsupportedError, UsageError
from vmkeep.hypervisors.described import (
    FIRST_KEY,
    LONGEST_TEXT,
    DescribedMachine,
    DiskFile,
    card_model,
    controller_type,
    number,
    require_sensible,
)
from vmkeep.hypervisors.vmx_rest import is_true, unread_parts
from vmkeep.model.disk import ControllerKind
from vmkeep.model.portable import Firmware, PortableCard, PortableDisk, PortableMachine

_LARGEST = 1 << 20
_LINE = re.compile(r'^\s*([^#=\s][^=]*?)\s*=\s*"(.*)"\s*$')
_ESCAPE = re.compile(r"\|([0-9A-Fa-f]{2})")
_ENCODING = re.compile(rb'^\s*\.encoding\s*=\s*"([A-Za-z0-9_.-]{1,40})"', re.MULTILINE)
_ADDRESS = re.compile(r"(scsi|sata|ide|nvme)(\d{1,2}):(\d{1,3})\.filename")
_CARD = re.compile(r"ethernet(\d{1,2})\.present")


def read_vmx(name: str, text: bytes) -> DescribedMachine:
    """Parse a ``.vmx`` file.

    :param name: names it in errors.
    :raises UsageError: it is none, or too large.
    :raises UnsupportedError: the machine is encrypted, or has no disk.
    """
    settings = _settings(name, text)
    if settings.get("encryption.keysafe"):
        raise UnsupportedError(f"{name}: the machine is encrypted: remove its encryption in Workstation first")
    disks = list(_disks(settings))
    if not disks:
        raise UnsupportedError(f"{name}: describes a machine without a disk")
    version = settings.get("virtualhw.version", "")
    machine = PortableMachine(
        name=settings.get("displayname", "")[:LONGEST_TEXT],
        cpus=number(f"{name}: numvcpus", settings.get("numvcpus", ""), 1),
        cores_per_socket=max(1, number(f"{name}: cpuid.coresPerSocket", settings.get("cpuid.corespersocket", ""), 1)),
        memory_mib=number(f"{name}: memsize", settings.get("memsize", ""), 256),
        firmware=Firmware.EFI if settings.get("firmware", "").lower() == "efi" else Firmware.BIOS,
        secure_boot=is_true(settings, "uefi.secureboot.enabled"),
        guest_id=settings.get("guestos", "")[:100] or "otherGuest64",
        hardware_version=int(version) if version.isascii() and version.isdigit() and len(version) < 4 else None,
        bios_uuid=_uuid(settings.get("uuid.bios", "")),
        annotation=settings.get("annotation", "")[:LONGEST_TEXT],
        disks=tuple(disk for disk, _ in disks),
        cards=tuple(_cards(settings)),
        left_out=tuple(unread_parts(settings)),
    )
    require_sensible(name, machine)
    return DescribedMachine(machine=machine, files=tuple(file for _, file in disks), nvram=settings.get("nvram", ""))


def _settings(name: str, text: bytes) -> dict[str, str]:
    """Return the settings by their names in lower case. Of a name that stands twice, the last one counts."""
    if len(text) > _LARGEST:
        raise UsageError(f"{name}: has {len(text)} bytes; {_LARGEST} is the limit of a .vmx file")
    told = _ENCODING.search(text)
    encoding = told[1].decode() if told else "utf-8"
    try:
        lines = text.decode(encoding, errors="replace").removeprefix("\ufeff").splitlines()
    except LookupError:
        raise UsageError(f"{name}: its encoding '{encoding}' is not known") from None
    found = {}
    for line in lines:
        if matched := _LINE.match(line[:LONGEST_TEXT]):
            found[matched[1].lower()] = _ESCAPE.sub(lambda code: chr(int(code[1], 16)), matched[2])
    if "config.version" not in found and "virtualhw.version" not in found:
        raise UsageError(f"{name}: is no .vmx file: it tells neither config.version nor virtualHW.version")
    return found


def _disks(settings: Mapping[str, str]) -> Iterator[tuple[PortableDisk, DiskFile]]:
    places = []
    for setting in settings:
        if (matched := _ADDRESS.fullmatch(setting)) is None:
            continue
        place = f"{matched[1]}{int(matched[2])}:{int(matched[3])}"
        kind = settings.get(f"{matched[1]}{matched[2]}:{matched[3]}.devicetype", "disk").lower()
        if is_true(settings, setting.replace("filename", "present")) and "cdrom" not in kind and "atapi" not in kind:
            places.append((ControllerKind(matched[1]), int(matched[2]), int(matched[3]), settings[setting], place))
    order = [ControllerKind.SCSI, ControllerKind.SATA, ControllerKind.NVME, ControllerKind.IDE]
    places.sort(key=lambda each: (order.index(each[0]), each[1:3]))
    for count, (kind, bus, unit, file, _) in enumerate(places):
        type_ = controller_type(kind, settings.get(f"scsi{bus}.virtualdev", ""))
        key = FIRST_KEY + count
        disk = PortableDisk(
            label=f"Hard disk {count + 1}",
            controller=kind,
            controller_type=type_,
            bus=bus,
            unit=unit,
            capacity=0,
            key=key,
        )
        yield disk, DiskFile(key=key, name=file)


def _cards(settings: Mapping[str, str]) -> Iterator[PortableCard]:
    numbers = sorted(int(matched[1]) for name in settings if (matched := _CARD.fullmatch(name)))
    for count, number_ in enumerate((one for one in numbers if is_true(settings, f"ethernet{one}.present")), 1):
        own = f"ethernet{number_}"
        mac = settings.get(f"{own}.address") or settings.get(f"{own}.generatedaddress") or ""
        network = settings.get(f"{own}.networkname") or settings.get(f"{own}.connectiontype") or ""
        yield PortableCard(
            label=f"Network adapter {count}",
            model=card_model(settings.get(f"{own}.virtualdev", "")) or "vlance",
            mac=mac.lower() if re.fullmatch(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}", mac) else None,
            network=network[:LONGEST_TEXT],
            connected=settings.get(f"{own}.startconnected", "true").lower() != "false",
        )


def _uuid(text: str) -> str | None:
    digits = re.sub(r"[\s-]", "", text).lower()
    if not re.fullmatch(r"[0-9a-f]{32}", digits):
        return None
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
