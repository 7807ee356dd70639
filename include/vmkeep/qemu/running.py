"""Owns QEMU's process: starts it, talks to it, and ends it."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from vmkeep.errors import DeadlineError, TransferError
from vmkeep.qemu.accelerators import Chosen
from vmkeep.qemu.commandline import qemu_arguments
from vmkeep.qemu.consoles import SerialConsole
from vmkeep.qemu.fitting import Drive, Fitted
from vmkeep.qemu.programs import find_setpriv
from vmkeep.qemu.qmp import Qmp
from vmkeep.qemu.screens import Screen, parse_screen, parse_text_memory
from vmkeep.scratch import private_folder

_ANSWER_SECONDS: Final = 60.0
"""Longest wait for an answer of QEMU, which may first have to open its disks on a busy machine."""
_END_SECONDS: Final = 5.0
_TEXT_MEMORY: Final = (0xB8000, 0x8000)
"""Address and size of VGA's text memory."""
_LAST_WORDS: Final = 2000


class RunningMachine:
    """A machine in QEMU. Made by :func:`open_machine`, and valid while that is open."""

    def __init__(self, process: subprocess.Popen[bytes], qmp: Qmp, console: SerialConsole, folder: Path) -> None:
        self._process = process
        self._qmp = qmp
        self._folder = folder
        self.console = console

    @property
    def pid(self) -> int:
        """Process id of QEMU."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether QEMU runs."""
        return self._process.poll() is None

    def status(self) -> str:
        """Return QEMU's word for the state of the machine, e.g. ``running``, ``io-error`` or ``internal-error``."""
        return str(self._qmp.execute("query-status")["status"])

    def events(self) -> list[dict[str, Any]]:
        """Return QEMU's events since the last call, oldest first."""
        return self._qmp.events()

    def bytes_read(self) -> int:
        """Return the bytes that the guest and its firmware have read from the disks."""
        return sum(int(each["stats"]["rd_bytes"]) for each in self._qmp.execute("query-blockstats"))

    def screen(self) -> Screen:
        """Return an image of the screen.

        :raises TransferError: QEMU ended, or wrote no image.
        """
        dump = self._folder / "screen.ppm"
        self._qmp.execute("screendump", filename=str(dump))
        return parse_screen(dump.read_bytes())

    def screen_text(self) -> str:
        """Return the text in VGA's text memory. It is older than the screen if that is in a graphics mode."""
        dump, (address, size) = self._folder / "text", _TEXT_MEMORY
        self._qmp.execute("pmemsave", val=address, size=size, filename=str(dump))
        return parse_text_memory(dump.read_bytes())

    def end(self) -> None:
        """End QEMU: by its own command, or by force if it does not follow."""
        if self.alive:
            with suppress(TransferError, DeadlineError):
                self._qmp.execute("quit")
        _end(self._process)


@contextmanager
def open_machine(
    qemu: str,
    fitted: Fitted,
    drives: Mapping[int, Drive],
    chosen: Chosen,
    *,
    on_serial: Callable[[bytes], None] = lambda _output: None,
) -> Iterator[RunningMachine]:
    """Start a machine, and end it with the context.

    The kernel kills QEMU when the thread that has called this ends, so that no machine outlives its owner.

    :param qemu: path of QEMU.
    :param drives: the NBD export of each disk, by device key.
    :param on_serial: gets what the guest writes to its serial port, in a thread of its own.
    :raises TransferError: QEMU did not start. The message has its reason.
    :raises UnsupportedError: a program or the firmware that the machine needs is not installed.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(private_folder())
        ours, theirs = (stack.enter_context(end) for end in socket.socketpair())
        our_serial, their_serial = (stack.enter_context(end) for end in socket.socketpair())
        passed = (theirs.fileno(), their_serial.fileno())
        arguments = qemu_arguments(
            fitted, drives, accelerator=chosen.accelerator, folder=folder, control=passed[0], serial=passed[1]
        )
        words = stack.enter_context((folder / "words").open("w+b"))
        process = subprocess.Popen(
            [find_setpriv(), "--pdeathsig", "KILL", "--", qemu, *arguments],
            stdin=subprocess.DEVNULL, stdout=words, stderr=words, pass_fds=passed,
            env=os.environ | {"TMPDIR": str(folder)}, start_new_session=True,
        )  # fmt: skip
        stack.callback(_end, process)
        theirs.close()
        their_serial.close()
        console = SerialConsole(our_serial, on_serial)
        stack.callback(console.close)
        try:
            machine = RunningMachine(process, Qmp(ours, seconds=_ANSWER_SECONDS), console, folder)
        except TransferError as error:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_SECONDS)
            raise TransferError(f"QEMU did not start the machine: {_last_words(folder / 'words') or error}") from error
        stack.callback(machine.end)
        yield machine


def _last_words(path: Path) -> str:
    """Return the last of what QEMU has said, in one line."""
    said = path.read_bytes()[-_LAST_WORDS:].decode("utf-8", "replace")
    lines = [line.strip() for line in said.splitlines() if line.strip() and "warning:" not in line]
    return "; ".join(lines[-3:])


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process that was told to end, and kill it if it does not."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(_END_SECONDS if process.poll() is None else 0)
    if process.poll() is None:
        process.kill()
        process.wait()
