"""Compares a machine's description with this machine, and tells in words where the two differ."""

from __future__ import annotations

import os
import re
from enum import StrEnum
from pathlib import Path

from vmkeep.errors import UsageError
from vmkeep.lateclass import dataclass
from vmkeep.model.portable import Firmware, PortableCard, PortableDisk, PortableMachine
from vmkeep.model.wording import size
from vmkeep.qemu.controllers import Card, Placed, place_disks, strangers

_MIB = 1 << 20
_FLOOR = 64
"""Fewest MiB of memory that a machine gets."""
_MODELS = {"vmxnet3": "vmxnet3", "e1000": "e1000", "e1000e": "e1000e", "pcnet32": "pcnet"}
_OTHER_MODEL = "e1000"
_MOST_NICS = 8


class DisplayKind(StrEnum):
    """A way to see the machine's screen."""

    NONE = "none"
    GTK = "gtk"
    VNC = "vnc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Display:
    """The way to see the machine's screen, besides screenshots."""

    kind: DisplayKind = DisplayKind.NONE
    number: int = 0
    """Number of the VNC display: its TCP port is 5900 more, on the loopback address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """A disk of the machine, and the NBD server that offers it."""

    disk: PortableDisk
    socket: Path
    export: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineRequest:
    """The machine that a person wants to start."""

    machine: PortableMachine
    memory_mib: int | None = None
    """``None``: as the machine had, if this machine has it."""
    cpus: int | None = None
    firmware: Firmware | None = None
    controller: Card | None = None
    """``None``: each disk's own, or its likeness."""
    network: bool = False
    """Whether the guest reaches the network of this machine, through QEMU's address translation."""
    display: Display = Display()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """The machine as QEMU gets it."""

    name: str
    memory_mib: int
    cpus: int
    firmware: Firmware
    uuid: str | None
    placed: tuple[Placed, ...]
    """The disks in the order in which the firmware tries them."""
    nics: tuple[tuple[str, str | None], ...]
    """QEMU's model and the MAC address of each network card."""
    display: Display
    notes: tuple[str, ...]
    """Sentences for people about each difference from the saved machine."""


def parse_display(text: str) -> Display:
    """Return the display that a person named: ``none``, ``gtk``, ``vnc`` or ``vnc:NUMBER``.

    :raises UsageError: it is none of these.
    """
    if (found := re.fullmatch(r"vnc(?::(\d{1,2}))?", text)) is not None:
        return Display(kind=DisplayKind.VNC, number=int(found[1] or 0))
    if text in (DisplayKind.NONE, DisplayKind.GTK):
        return Display(kind=DisplayKind(text))
    raise UsageError(
        f"--display {text}: give none, gtk, vnc, or vnc:NUMBER for the port 5900 + NUMBER (0 to 99) of 127.0.0.1; "
        "other machines reach it through an SSH tunnel"
    )


def fit_machine(request: MachineRequest) -> Fitted:
    """Return the machine as this machine can run it.

    :raises UsageError: a number that was asked for is not possible.
    :raises UnsupportedError: the machine has no disk, or more than QEMU takes.
    """
    machine = request.machine
    memory, memory_notes = _memory(request)
    cpus, cpu_notes = _cpus(request)
    firmware = request.firmware or machine.firmware
    placed = place_disks(machine.disks, request.controller)
    if not placed:
        raise UsageError(f"{machine.name}: no disk to boot from")
    first = machine.boot_disk if machine.boot_disk is not None else placed[0].disk.key
    placed = tuple(sorted(placed, key=lambda each: each.disk.key != first))
    notes = [*memory_notes, *cpu_notes]
    if request.controller is None:
        notes += strangers(placed)
    if firmware is Firmware.EFI:
        notes.append("the boot entries of the saved firmware are not carried: EFI starts \\EFI\\BOOT\\BOOTX64.EFI")
        if machine.secure_boot:
            notes.append("Secure Boot is off in this machine")
    if machine.cards and not request.network:
        notes.append("the machine has no network")
    return Fitted(
        name=machine.name,
        memory_mib=memory,
        cpus=cpus,
        firmware=firmware,
        uuid=machine.bios_uuid,
        placed=placed,
        nics=_nics(machine.cards) if request.network else (),
        display=request.display,
        notes=tuple(notes),
    )


def _memory(request: MachineRequest) -> tuple[int, list[str]]:
    """Return the memory in MiB: at most half of what is available here, because the guest touches all of it."""
    available = available_memory() // _MIB
    if (asked := request.memory_mib) is not None:
        if not _FLOOR <= asked <= available:
            raise UsageError(f"--memory {asked}: between {_FLOOR} and {available} MiB are possible here now")
        return asked, []
    wanted, room = request.machine.memory_mib, max(_FLOOR, available // 2)
    if wanted <= room:
        return max(_FLOOR, wanted), []
    had, gets = size(wanted * _MIB), size(room * _MIB)
    return room, [f"the machine had {had} of memory and gets {gets}, half of what is available here; see --memory"]


def _cpus(request: MachineRequest) -> tuple[int, list[str]]:
    here = len(os.sched_getaffinity(0))
    if (asked := request.cpus) is not None:
        if not 1 <= asked <= here:
            raise UsageError(f"--cpus {asked}: between 1 and {here} are possible here")
        return asked, []
    if request.machine.cpus <= here:
        return max(1, request.machine.cpus), []
    return here, [f"the machine had {request.machine.cpus} CPUs and gets {here}, which is what this machine has"]


def available_memory() -> int:
    """Return the bytes of memory that programs could still get on this machine."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", Path("/proc/meminfo").read_text(encoding="ascii"), re.MULTILINE)
    return int(found[1]) << 10 if found else os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _nics(cards: tuple[PortableCard, ...]) -> tuple[tuple[str, str | None], ...]:
    chosen = cards[:_MOST_NICS] or (PortableCard(label="", model=_OTHER_MODEL, mac=None, network=""),)
    return tuple((_MODELS.get(card.model, _OTHER_MODEL), card.mac) for card in chosen)
