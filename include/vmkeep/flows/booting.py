"""Boots a restore point where it lies: its disks over NBD with throw-away overlays, in a machine in QEMU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import field, replace
from pathlib import Path

from vmkeep.flows.saved_machine import saved_machine
from vmkeep.flows.serving import Tell, serve_point
from vmkeep.lateclass import dataclass
from vmkeep.model.portable import Firmware
from vmkeep.model.serving import ServeRequest
from vmkeep.qemu import (
    Accelerator,
    Awaited,
    Card,
    Display,
    Drive,
    MachineRequest,
    RunningMachine,
    Seen,
    choose_accelerator,
    find_qemu,
    fit_machine,
    open_machine,
    parse_awaited,
    parse_display,
    vnc_port,
    watch,
)
from vmkeep.repository import Repository

__all__ = [
    "Accelerator",
    "Awaited",
    "BootRequest",
    "BootedMachine",
    "BootedPoint",
    "Card",
    "Display",
    "Firmware",
    "Seen",
    "boot_point",
    "parse_awaited",
    "parse_display",
    "watch",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class BootRequest:
    """A point to boot, and the machine for it."""

    point: str
    """A ref, the unique beginning of an id, or ``latest:VM``."""
    disks: tuple[int, ...] = ()
    """Numbers of the disks, from 0, in order of device key; empty: all."""
    accelerator: Accelerator = Accelerator.AUTO
    memory_mib: int | None = None
    """``None``: as the machine had, if this machine has it."""
    cpus: int | None = None
    firmware: Firmware | None = None
    controller: Card | None = None
    network: bool = False
    display: Display = field(default_factory=Display)


@dataclass(frozen=True, slots=True, kw_only=True)
class BootedPoint:
    """A point that was booted, as QEMU got it."""

    point: str
    """The point's ref."""
    vm: str
    accelerator: Accelerator
    why: str
    """The reason for the accelerator."""
    memory_mib: int
    cpus: int
    firmware: Firmware
    disks: tuple[str, ...]
    """Labels of the disks, in the order in which the firmware tries them."""
    vnc_port: int | None
    """TCP port of the screen on 127.0.0.1; ``None``: there is none."""
    process: int
    """Process id of QEMU."""
    notes: tuple[str, ...]
    """Sentences for people about each difference from the saved machine."""
    warnings: tuple[str, ...] = ()
    """Sentences about disks of the VM that are not in the point, and about marks that the point has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootedMachine:
    """A machine that runs a point."""

    described: BootedPoint
    machine: RunningMachine


@contextmanager
def boot_point(
    repository: Repository,
    request: BootRequest,
    *,
    tell: Tell,
    on_serial: Callable[[bytes], None] = lambda _output: None,
) -> Iterator[BootedMachine]:
    """Boot a point, and end the machine with the context. What the guest has written is gone then.

    As long as it lasts, nobody deletes the point.

    :param tell: takes lines about the disks, e.g. of a damaged block that the guest has asked for.
    :param on_serial: gets what the guest writes to its serial port, in a thread of its own.
    :raises NotFoundError: there is no such point or disk.
    :raises UnsupportedError: QEMU or the firmware is not installed, or the machine does not fit.
    :raises TransferError: QEMU did not start.
    """
    qemu = find_qemu()
    with ExitStack() as stack:
        trial = stack.enter_context(ThreadPoolExecutor(1)).submit(choose_accelerator, qemu, request.accelerator)
        serve = ServeRequest(point=request.point, disks=request.disks, writable=True)
        served = stack.enter_context(serve_point(repository, serve, tell=tell, doing="booting"))
        assert served.socket is not None  # because no port was asked for
        saved = saved_machine(repository, repository.load_point(served.point))
        names = {disk.key: disk.name for disk in served.disks}
        machine = replace(saved, disks=tuple(disk for disk in saved.disks if disk.key in names))
        fitted = fit_machine(
            MachineRequest(
                machine=machine,
                memory_mib=request.memory_mib,
                cpus=request.cpus,
                firmware=request.firmware,
                controller=request.controller,
                network=request.network,
                display=request.display,
            )
        )
        drives = {
            disk.key: Drive(disk=disk, socket=Path(served.socket), export=names[disk.key]) for disk in machine.disks
        }
        chosen = trial.result()
        running = stack.enter_context(open_machine(qemu, fitted, drives, chosen, on_serial=on_serial))
        described = BootedPoint(
            point=served.point,
            warnings=served.warnings,
            vm=machine.name,
            accelerator=chosen.accelerator,
            why=chosen.why,
            memory_mib=fitted.memory_mib,
            cpus=fitted.cpus,
            firmware=fitted.firmware,
            disks=tuple(placed.disk.label for placed in fitted.placed),
            vnc_port=vnc_port(request.display),
            process=running.pid,
            notes=fitted.notes,
        )
        yield BootedMachine(described=described, machine=running)
