"""Writes a machine as a script of ``qm`` commands for Proxmox VE.

Source: the manual pages of ``qm`` and of the VM's configuration, https://pve.proxmox.com/pve-docs/qm.conf.5.html.
``import-from`` needs Proxmox VE 7.2 or newer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from shlex import quote

from vmkeep.errors import UnsupportedError
from vmkeep.hypervisors.guests import Family, Guest, guest_of
from vmkeep.hypervisors.libvirt import card_model, disk_bus, usable_mac, usable_uuid
from vmkeep.hypervisors.written import Wishes, WrittenDisk, host_name, in_boot_order, one_line
from vmkeep.hypervisors.xmltext import clean
from vmkeep.model.portable import Drivers, Firmware, PortableCard, PortableMachine

DEFAULT_BRIDGE = "vmbr0"
_MOST = {"scsi": 31, "sata": 6, "ide": 4}
"""Greatest number of disks that Proxmox takes on a bus."""
_OS_TYPES = (
    ("winXP", "wxp"), ("winNet", "w2k3"), ("win2000", "w2k"), ("winVista", "wvista"), ("winLonghorn", "w2k8"),
    ("windows7", "win7"), ("windows8", "win8"), ("windows11", "win11"), ("windows12", "win11"),
    ("windows2022", "win11"), ("windows2025", "win11"), ("windows2019", "win10"), ("windows9", "win10"),
    ("win", "win10"),
)  # fmt: skip
_HEAD = """#!/bin/bash
# Makes a VM of Proxmox VE from disks that vmkeep exported. Needs Proxmox VE 7.2 or newer, and root.
# usage: {script} VMID STORAGE     (e.g. 120 local-lvm)
set -euo pipefail
[ $# = 2 ] || {{ echo "usage: $0 VMID STORAGE" >&2; exit 2; }}
VMID=$1
STORAGE=$2
cd -- "$(dirname -- "$0")"
HERE=$PWD
case $HERE in *[,=]*) echo "$0: qm takes no comma or = in a path: move the files to another folder" >&2; exit 2 ;; esac
"""
_MADE = """trap 'echo "$0: failed. Remove the unfinished VM by: qm destroy $VMID --purge" >&2' ERR
"""


def proxmox_script(
    machine: PortableMachine, files: Sequence[WrittenDisk], wishes: Wishes, *, script: str = "proxmox.sh"
) -> str:
    """Return the script. It is run in any folder, and finds the disks beside itself.

    :raises UnsupportedError: the machine has more disks than one bus of Proxmox takes, or a file's name cannot be said.
    """
    guest, drivers = guest_of(machine), wishes.drivers_of(machine)
    disks = in_boot_order(machine, files)
    addresses = list(_addresses([disk_bus(at, drivers, guest, machine.firmware) for at in range(len(disks))]))
    lines = [_HEAD.format(script=quote(one_line(script)))]
    lines += [_networks(machine), f"for FILE in {' '.join(quote(each.file.name) for each in disks)}; do\n"]
    lines += ['  [ -r "$FILE" ] || { echo "$0: $HERE/$FILE is not there" >&2; exit 2; }\ndone\n']
    lines += [_create(machine, guest, drivers, wishes), _MADE]
    if machine.firmware is Firmware.EFI:
        keys = int(machine.secure_boot)
        lines.append(f'qm set "$VMID" --efidisk0 "$STORAGE:0,efitype=4m,pre-enrolled-keys={keys}"\n')
    for written, address in zip(disks, addresses, strict=True):
        name = _sayable(written.file.name)
        more = ",discard=on,iothread=1" if address.startswith("scsi") else ""
        lines.append(f'qm set "$VMID" --{address} "$STORAGE:0,import-from=$HERE/"{quote(name)}{more}\n')
    if addresses:
        lines.append(f'qm set "$VMID" --boot {quote("order=" + ";".join(addresses))}\n')
    lines.append('echo "VM $VMID is there. It was not started."\n')
    return "".join(lines)


def _sayable(name: str) -> str:
    if set(",=\n") & set(name):
        raise UnsupportedError(
            f"{name!r}: qm takes no file whose name has a comma, '=' or a line break: choose another name (--name)"
        )
    return name


def _addresses(buses: Sequence[str]) -> Iterator[str]:
    counts = dict.fromkeys(_MOST, 0)
    for bus in buses:
        if counts[bus] == _MOST[bus]:
            raise UnsupportedError(
                f"the machine has more than {_MOST[bus]} disks, which is the most that Proxmox VE takes on {bus}: "
                "choose --drivers virtio, or export fewer disks (--disk)"
            )
        yield f"{bus}{counts[bus]}"
        counts[bus] += 1


def _networks(machine: PortableMachine) -> str:
    return "".join(
        f"# Card {one_line(card.label)} was on network '{one_line(card.network)}'.\n" for card in machine.cards
    )


def _create(machine: PortableMachine, guest: Guest, drivers: Drivers, wishes: Wishes) -> str:
    efi = machine.firmware is Firmware.EFI
    options = [
        ("name", host_name(machine.name)),
        ("memory", str(machine.memory_mib)),
        ("sockets", str(machine.cpus // machine.cores_per_socket)),
        ("cores", str(machine.cores_per_socket)),
        ("cpu", "host"),
        ("ostype", _os_type(guest)),
        ("bios", "ovmf" if efi else "seabios"),
        *([("machine", "q35")] if efi else []),
        ("scsihw", "virtio-scsi-single"),
        ("agent", "1"),
        ("onboot", "0"),
    ]
    if (uuid := usable_uuid(machine.bios_uuid)) is not None:
        options.append(("smbios1", f"uuid={uuid}"))
    options += [(f"net{number}", _card(card, guest, drivers, wishes)) for number, card in enumerate(machine.cards)]
    if description := _description(machine):
        options.append(("description", description))
    return 'qm create "$VMID" \\\n' + " \\\n".join(f"  --{name} {quote(value)}" for name, value in options) + "\n"


def _description(machine: PortableMachine) -> str:
    named = "" if host_name(machine.name) == machine.name else f"{one_line(machine.name)}\n\n"
    return clean(named + machine.annotation).replace("\x00", "").strip()


def _card(card: PortableCard, guest: Guest, drivers: Drivers, wishes: Wishes) -> str:
    model, mac = card_model(card, drivers, guest), usable_mac(card.mac)
    bridge = wishes.networks.get(card.network, DEFAULT_BRIDGE).removeprefix("bridge:")
    parts = [f"{model}={mac.upper()}" if mac else model, f"bridge={bridge}"]
    return ",".join(parts + ([] if card.connected else ["link_down=1"]))


def _os_type(guest: Guest) -> str:
    if guest.is_linux:
        return "l26"
    if guest.family is Family.SOLARIS:
        return "solaris"
    return (
        next((name for start, name in _OS_TYPES if guest.id.startswith(start)), "other")
        if guest.is_windows
        else "other"
    )
