"""Makes the files that take an exported machine to another hypervisor: its description, and the list of losses."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from vmkeep.errors import UsageError
from vmkeep.hypervisors import (
    OVF_ENDS,
    Wishes,
    WrittenDisk,
    advice,
    left_behind,
    libvirt_xml,
    manifest,
    notes_text,
    openstack_properties,
    openstack_script,
    ovf_xml,
    package_advice,
    proxmox_script,
)
from vmkeep.model.exports import ExportedPoint, ExportRequest, ImageFormat
from vmkeep.model.job import to_plain
from vmkeep.model.portable import Drivers, Hypervisor, PortableMachine
from vmkeep.qemu import convert, require_converter

_FORMATS = (ImageFormat.QCOW2, ImageFormat.RAW)
_ENDS = {
    Hypervisor.LIBVIRT: (".libvirt.xml",),
    Hypervisor.PROXMOX: (".proxmox.sh",),
    Hypervisor.OPENSTACK: (".openstack.sh", ".openstack.json"),
}
_MACHINE = ".machine.json"


class WayOut:
    """The files beside the images of one export for another hypervisor."""

    def __init__(self, request: ExportRequest, to: Hypervisor, machine: PortableMachine) -> None:
        """:raises UsageError: the hypervisor does not take images of that format, or a network is named wrongly."""
        if request.format not in _FORMATS:
            raise UsageError(f"--to {to} takes images of the format qcow2 or raw, not {request.format}")
        if request.convert:
            _require_convertible(request, to)
        self._to = to
        self._machine = machine
        self._wishes = Wishes(
            drivers=request.drivers,
            networks=_networks(request.networks, machine),
            folder="" if "://" in request.out else str(Path(request.out).absolute()),
        )

    def convert(self, folder: Path, exported: ExportedPoint, check: Callable[[], None]) -> None:
        """Convert the guest on the overlays of an export, and describe it so from now on.

        :raises ConversionError: it was not converted.
        """
        inside = replace(self._wishes, folder=str(folder))
        ready = convert(libvirt_xml(self._machine, _written(exported), inside), check=check)
        self._wishes = replace(self._wishes, converted=True, drivers=Drivers.VIRTIO if ready else Drivers.SAFE)

    def files(self, exported: ExportedPoint) -> Mapping[str, bytes]:
        """Return the files, by name.

        :raises UnsupportedError: the hypervisor cannot have the machine, e.g. because it has too many disks.
        """
        disks = _written(exported)
        names = [*(f"{exported.name}{end}" for end in (*_ENDS[self._to], _MACHINE)), exported.notes]
        described = (*self._described(exported.name, disks), self._as_json(disks), self._notes(disks))
        return {name: text.encode("utf-8", "replace") for name, text in zip(names, described, strict=True)}

    def _described(self, name: str, disks: list[WrittenDisk]) -> tuple[str, ...]:
        machine, wishes = self._machine, self._wishes
        if self._to is Hypervisor.LIBVIRT:
            return (libvirt_xml(machine, disks, wishes),)
        if self._to is Hypervisor.PROXMOX:
            return (proxmox_script(machine, disks, wishes, script=f"{name}.proxmox.sh"),)
        properties = json.dumps(openstack_properties(machine, wishes), indent=2) + "\n"
        return openstack_script(machine, disks, wishes, script=f"{name}.openstack.sh"), properties

    def _as_json(self, disks: list[WrittenDisk]) -> str:
        told = {
            "to": str(self._to),
            "drivers": str(self._wishes.drivers_of(self._machine)),
            "machine": to_plain(self._machine),
            "left_out": [to_plain(left) for left in left_behind(self._machine, disks)],
            "advice": list(advice(self._machine, self._wishes)),
        }
        return json.dumps(told, indent=2) + "\n"

    def _notes(self, disks: list[WrittenDisk]) -> str:
        return notes_text(self._machine, disks, advice(self._machine, self._wishes))


def ova_files(machine: PortableMachine, exported: ExportedPoint) -> Mapping[str, bytes]:
    """Return the file beside an OVA: the list of losses."""
    text = notes_text(machine, _written(exported), package_advice(machine))
    return {exported.notes: text.encode("utf-8", "replace")}


def ovf_files(machine: PortableMachine, exported: ExportedPoint) -> Mapping[str, bytes]:
    """Return the descriptor and the manifest of an OVF package, and the list of losses, by name."""
    disks = _written(exported)
    descriptor, listing = (f"{exported.name}{end}" for end in OVF_ENDS)
    text = ovf_xml(machine, disks).encode()
    digests = {descriptor: sha256(text).hexdigest()}
    for disk in exported.disks:
        digests[disk.files[0].name] = disk.files[0].sha256 or ""
    return {descriptor: text, listing: manifest(digests).encode(), **ova_files(machine, exported)}


def _require_convertible(request: ExportRequest, to: Hypervisor) -> None:
    if to is not Hypervisor.LIBVIRT:
        raise UsageError(f"--convert makes a guest ready for --to libvirt, and not for {to}")
    if "://" in request.out:
        raise UsageError(f"--convert needs files that virt-v2v can open: choose a folder, not {request.out}")
    if request.drivers is not None:
        raise UsageError("--drivers says nothing with --convert, which finds out what the guest has drivers for")
    if request.disks:
        raise UsageError("--convert needs the whole machine: leave --disk out")
    require_converter()


def _written(exported: ExportedPoint) -> list[WrittenDisk]:
    files = exported.converted or [disk.files[0] for disk in exported.disks]
    form = "qcow2" if exported.converted else str(exported.format)
    return [
        WrittenDisk(
            key=disk.device_key,
            name=file.name,
            size=file.size,
            format=form,
            populated=disk.bytes_written,
        )
        for disk, file in zip(exported.disks, files, strict=True)
    ]


def _networks(words: tuple[str, ...], machine: PortableMachine) -> dict[str, str]:
    """Return the network or bridge that stands for each network that a person named."""
    found = {}
    for word in words:
        old, equals, new = word.rpartition("=")
        if not equals or not old or not new:
            raise UsageError(f"--network '{word}': say it as 'OLD=NEW', e.g. 'VM Network=vmbr0'")
        if old not in {card.network for card in machine.cards}:
            has = ", ".join(sorted({f"'{card.network}'" for card in machine.cards})) or "no network"
            raise UsageError(f"--network '{word}': the machine's cards are on {has}, and not on '{old}'")
        found[old] = new
    return found
