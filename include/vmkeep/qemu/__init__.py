"""Starts a machine in QEMU on this machine, from disks that an NBD server offers, and looks at it.

A description (``PortableMachine``) becomes QEMU's arguments in two steps: ``fitting`` compares it with this machine and
tells each difference in words, and ``commandline`` writes it down; ``controllers`` gives each disk a place that the
guest knows. ``accelerators`` lets KVM prove itself before a guest depends on it. ``running`` owns the process: it ends
with us, however we end. ``qmp`` talks to it, ``consoles`` reads its serial port, ``screens`` its screen, and
``watching`` waits until they show that the guest is up, or that it failed.

``conversion`` lets virt-v2v make a guest ready for KVM.

The guest is a stranger. It gets no network unless asked, QEMU may start no program, and all that is read from it is
bounded.
"""

from vmkeep.qemu.accelerators import Accelerator, Chosen, choose_accelerator
from vmkeep.qemu.commandline import vnc_port
from vmkeep.qemu.controllers import Card
from vmkeep.qemu.conversion import convert, make_overlay, require_converter
from vmkeep.qemu.fitting import Display, Drive, Fitted, MachineRequest, fit_machine, parse_display
from vmkeep.qemu.programs import find_qemu
from vmkeep.qemu.running import RunningMachine, open_machine
from vmkeep.qemu.screens import Look, Screen
from vmkeep.qemu.watching import Awaited, Seen, Sign, parse_awaited, watch

__all__ = [
    "Accelerator",
    "Awaited",
    "Card",
    "Chosen",
    "Display",
    "Drive",
    "Fitted",
    "Look",
    "MachineRequest",
    "RunningMachine",
    "Screen",
    "Seen",
    "Sign",
    "choose_accelerator",
    "convert",
    "find_qemu",
    "fit_machine",
    "make_overlay",
    "open_machine",
    "parse_awaited",
    "parse_display",
    "require_converter",
    "vnc_port",
    "watch",
]
