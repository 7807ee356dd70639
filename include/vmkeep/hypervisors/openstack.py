"""Writes a machine as images, volumes and their properties for OpenStack.

Source of the properties: https://docs.openstack.org/glance/latest/admin/useful-image-properties.html.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from shlex import quote

from vmkeep.hypervisors.guests import Family, guest_of
from vmkeep.hypervisors.libvirt import card_model, disk_bus, usable_mac
from vmkeep.hypervisors.written import FileOfDisk, Wishes, WrittenDisk, in_boot_order, one_line
from vmkeep.model.portable import Drivers, Firmware, PortableMachine

_GIB = 1 << 30
_DISTROS = {"ubuntu": "ubuntu", "debian": "debian", "rhel": "rhel", "centos": "centos", "sles": "sles"}
_HEAD = """#!/bin/bash
# Brings disks that vmkeep exported into OpenStack, with the log-in of the environment (OS_CLOUD, or an rc file).
# usage: {script} [OPTION of 'openstack image create' …]     (e.g. --private)
set -euo pipefail
cd -- "$(dirname -- "$0")"
"""


def openstack_properties(machine: PortableMachine, wishes: Wishes) -> Mapping[str, str]:
    """Return the properties of the machine's images. Nova makes its devices after those of the image it starts from."""
    guest, drivers, efi = guest_of(machine), wishes.drivers_of(machine), machine.firmware is Firmware.EFI
    properties = {
        "architecture": "x86_64",
        "hypervisor_type": "kvm",
        "hw_machine_type": "q35" if efi else "pc",
        "hw_firmware_type": "uefi" if efi else "bios",
        "hw_disk_bus": disk_bus(0, drivers, guest, machine.firmware),
        "hw_cpu_sockets": str(machine.cpus // machine.cores_per_socket),
        "hw_cpu_cores": str(machine.cores_per_socket),
    }
    if drivers is Drivers.VIRTIO:
        properties["hw_scsi_model"] = "virtio-scsi"
    if machine.cards:
        properties["hw_vif_model"] = card_model(machine.cards[0], drivers, guest)
    if machine.secure_boot:
        properties["os_secure_boot"] = "required"
    if guest.is_windows or guest.is_linux:
        properties["os_type"] = "windows" if guest.is_windows else "linux"
    distro = next((name for start, name in _DISTROS.items() if guest.id.startswith(start)), None)
    if guest.family is Family.WINDOWS or distro:
        properties["os_distro"] = distro or "windows"
    return properties


def openstack_script(
    machine: PortableMachine, files: Sequence[WrittenDisk], wishes: Wishes, *, script: str = "openstack.sh"
) -> str:
    """Return a script that makes an image of each disk. Of a machine with several disks, it makes volumes, too."""
    properties = openstack_properties(machine, wishes)
    disks = in_boot_order(machine, files)
    lines = [_HEAD.format(script=quote(one_line(script)))]
    for number, written in enumerate(disks):
        lines.append(_image(machine, written, number, properties))
    if len(disks) > 1:
        lines += [_volume(machine, written, number) for number, written in enumerate(disks)]
    lines += [f"# {line}\n" for line in _then(machine, disks)]
    return "".join(lines)


def _name(machine: PortableMachine, written: FileOfDisk, number: int, total: int = 0) -> str:
    base = one_line(machine.name)[:200] or "vm"
    return base if number == 0 and not total else f"{base} disk {number} ({one_line(written.disk.label)})"


def _image(machine: PortableMachine, written: FileOfDisk, number: int, properties: Mapping[str, str]) -> str:
    size, boots = max(1, -(-written.disk.capacity // _GIB)), number == 0
    options = ["--container-format", "bare", "--disk-format", written.file.format, "--min-disk", str(size)]
    if boots:
        options += ["--min-ram", str(machine.memory_mib)]
        options += [part for name, value in properties.items() for part in ("--property", f"{name}={value}")]
    options += ["--file", f"./{written.file.name}"]
    words = [quote(each) for each in options]
    name = quote(_name(machine, written, number))
    pairs = [" ".join(words[at : at + 2]) for at in range(0, len(words), 2)]
    call = f'IMAGE{number}=$(openstack image create "$@" \\\n  ' + " \\\n  ".join(pairs)
    return f'{call} \\\n  -f value -c id -- {name})\necho "image $IMAGE{number}"\n'


def _volume(machine: PortableMachine, written: FileOfDisk, number: int) -> str:
    size, boots = max(1, -(-written.disk.capacity // _GIB)), " --bootable" if number == 0 else ""
    name = quote(_name(machine, written, number, total=2))
    return (
        f'VOLUME{number}=$(openstack volume create --image "$IMAGE{number}" --size {size}{boots} \\\n'
        f'  -f value -c id -- {name})\necho "volume $VOLUME{number}"\n'
    )


def _then(machine: PortableMachine, disks: Sequence[FileOfDisk]) -> list[str]:
    """Return hints for the server itself, whose flavor and networks only the cloud knows."""
    lines = [
        "",
        f"Once images and volumes are ready, make the server: {machine.cpus} CPUs, {machine.memory_mib} MiB of memory.",
    ]
    for card in machine.cards:
        lines.append(f"Card {one_line(card.label)} was on network '{one_line(card.network)}'")
        if (mac := usable_mac(card.mac)) is not None:
            lines.append(f"and keeps its address by: openstack port create --mac-address {mac} --network NETWORK NAME")
    if len(disks) > 1:
        others = " ".join(
            f"--block-device uuid=$VOLUME{at},source_type=volume,destination_type=volume,boot_index=-1"
            for at in range(1, len(disks))
        )
        lines.append(f"openstack server create --flavor FLAVOR --volume $VOLUME0 {others} --port PORT NAME")
    else:
        lines.append("openstack server create --flavor FLAVOR --image $IMAGE0 --port PORT NAME")
    return lines
