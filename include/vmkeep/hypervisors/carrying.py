"""Tells a person which parts of a machine do not come along, and what usually has to be done by hand."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from vmkeep.hypervisors.guests import Family, guest_of
from vmkeep.hypervisors.written import Wishes, WrittenDisk, not_written
from vmkeep.model.portable import Drivers, Firmware, LeftOut, PortableMachine

_TEXT_WIDTH = 100


def left_behind(machine: PortableMachine, files: Sequence[WrittenDisk]) -> tuple[LeftOut, ...]:
    """Return every part of a machine that its description for another hypervisor does not carry."""
    return (*machine.left_out, *not_written(machine, files))


def advice(machine: PortableMachine, wishes: Wishes) -> tuple[str, ...]:
    """Return the steps that usually have to be done by hand, the first one first."""
    guest, drivers = guest_of(machine), wishes.drivers_of(machine)
    steps = ["Start the new machine only when the old one is off, because both have the same addresses and names."]
    if guest.is_windows:
        steps += [
            "Note the static IP addresses before: Windows gives the new network cards none of them.",
            "Have the BitLocker recovery keys at hand, or suspend BitLocker before the last backup.",
        ]
    else:
        steps.append("Look at names of network cards in the guest's settings: they may change with the kind of card.")
    if wishes.converted:
        steps.append(
            "The converted disks are overlays with the ends .converted.qcow2, which need the images beside them: move "
            "all of them together, and start no machine from the images below. 'qemu-img convert' joins both."
        )
        steps.append("If the converted guest does not start: the images are as they were in the backup.")
    if drivers is Drivers.SAFE:
        steps.append(
            "The disks are on a slow controller that the guest surely knows. Install virtio drivers in the guest, add "
            "a small virtio disk once so that the guest takes them into its start-up, and change the machine then."
            if guest.is_windows
            else "The disks are on a controller that the guest surely knows. For virtio, take its drivers into the "
            "initial RAM disk first, e.g. 'dracut --force --no-hostonly' or 'update-initramfs -u -k all'."
        )
    elif guest.family not in (Family.DEBIAN, Family.BSD) and not wishes.converted:
        steps.append("The guest needs virtio drivers in its start-up before its first start here.")
    if guest.family is Family.OLD_WINDOWS:
        steps.append("Windows before Vista may stop with code 7B on another board: install its drivers before.")
    if machine.firmware is Firmware.EFI:
        steps.append("If the firmware finds nothing to start, choose the loader in its menu once, and add an entry.")
    steps += [
        "Remove VMware Tools from the guest, and install the QEMU guest agent.",
        "Back up the new machine at once, and keep the restore point until its successor has proved itself.",
    ]
    return tuple(steps)


def package_advice(machine: PortableMachine) -> tuple[str, ...]:
    """Return the steps by hand for a machine in an OVF package, whose importer nobody knows yet."""
    steps = ["Start the imported machine only when the old one is off, because both have the same addresses and names."]
    if machine.cards:
        steps.append("Choose the networks while you import: the package has only their names.")
        steps.append(
            "Compare the MAC addresses after the import: some programs give out new ones. A guest then may take the "
            "card for a new one, without its static IP addresses; note these before."
        )
    if machine.firmware is Firmware.EFI:
        steps.append("If the firmware finds nothing to start, choose the loader in its menu once, and add an entry.")
    steps.append("Back up the new machine at once, and keep the restore point until its successor has proved itself.")
    return tuple(steps)


def notes_text(machine: PortableMachine, files: Sequence[WrittenDisk], steps: Sequence[str]) -> str:
    """Return the parts that do not come along, and the steps by hand, as a text for people."""
    lines = [f"{machine.name}", "", "Parts that do not come along:", ""]
    for left in left_behind(machine, files) or (LeftOut(part="none", why="everything has a place"),):
        lines += _item(f"{left.part}: {left.why}.")
    lines += ["", "Usually to be done by hand:", ""]
    for step in steps:
        lines += _item(step)
    return "\n".join(lines) + "\n"


def _item(text: str) -> list[str]:
    return textwrap.wrap(text, _TEXT_WIDTH, initial_indent="- ", subsequent_indent="  ", break_long_words=False)
