"""Chooses how QEMU runs a guest's instructions: by KVM, or by its own translator (TCG).

That ``/dev/kvm`` can be opened proves little: a nested or emulated KVM may interpret a guest's first instructions one
by one, for minutes, or stop at one that it does not know. So KVM has to run a small program of ours first. It counts to
a million in real and in protected mode, which takes a processor a thousandth of a second, and tells QEMU to exit.
"""

from __future__ import annotations

import os
import struct
import subprocess
from enum import StrEnum
from pathlib import Path

from vmkeep.errors import UnsupportedError
from vmkeep.lateclass import dataclass
from vmkeep.qemu.programs import find_setpriv
from vmkeep.scratch import private_folder, writing_to

_KVM = Path("/dev/kvm")
_TRIAL_SECONDS = 1.0
"""Time for the trial. A processor's KVM needs a fifth of it, most of which is QEMU's start."""
_TRIAL_STATUS = 0x41
"""QEMU's exit code when the program has written 0x20 to the port of ``isa-debug-exit``: twice that, plus one."""


class Accelerator(StrEnum):
    """The engine that runs the guest's instructions."""

    AUTO = "auto"
    KVM = "kvm"
    TCG = "tcg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The accelerator of a machine, and the reason for it."""

    accelerator: Accelerator
    """KVM or TCG."""
    why: str


def choose_accelerator(qemu: str, asked: Accelerator) -> Chosen:
    """Return KVM if it works here, or else TCG.

    :param qemu: path of QEMU.
    :raises UnsupportedError: KVM is asked for, and this user cannot open it.
    """
    if asked is Accelerator.TCG:
        return Chosen(accelerator=Accelerator.TCG, why="asked for")
    if not os.access(_KVM, os.R_OK | os.W_OK):
        why = f"{_KVM} is not there" if not _KVM.exists() else f"{_KVM} is not this user's: join the group kvm"
        if asked is Accelerator.KVM:
            raise UnsupportedError(f"KVM cannot be used: {why}; '--accelerator tcg' works everywhere, slowly")
        return Chosen(accelerator=Accelerator.TCG, why=f"slow, because {why}")
    if asked is Accelerator.KVM:
        return Chosen(accelerator=Accelerator.KVM, why="asked for")
    if not runs(qemu, Accelerator.KVM, seconds=_TRIAL_SECONDS):
        return Chosen(
            accelerator=Accelerator.TCG,
            why=f"slow, because KVM did not run a trial program in {_TRIAL_SECONDS:.0f} s here",
        )
    return Chosen(accelerator=Accelerator.KVM, why="it ran a trial program")


def runs(qemu: str, accelerator: Accelerator, *, seconds: float) -> bool:
    """Tell whether an accelerator runs the trial program in a time."""
    with private_folder() as folder:
        rom = folder / "trial.rom"
        with writing_to(folder):
            rom.write_bytes(_trial_program())
        command = [
            find_setpriv(), "--pdeathsig", "KILL", "--",
            qemu, "-accel", accelerator, "-machine", "pc", "-m", "2", "-nodefaults", "-no-user-config",
            "-display", "none", "-no-reboot", "-bios", str(rom), "-device", "isa-debug-exit,iobase=0xf4,iosize=1",
        ]  # fmt: skip
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == _TRIAL_STATUS


def _trial_program() -> bytes:
    """Return a ROM of 64 KiB, which the processor sees from 0xF0000 on and starts 16 bytes before its end."""
    size, code_at, table_at = 1 << 16, 0xE000, 0xE100
    base = 0xF0000
    real = bytes.fromhex("fa 66b940420f00 6649 75fc")  # cli; ecx = 1,000,000; count down
    real += bytes.fromhex("2e660f0116") + struct.pack("<H", table_at)  # load the table of segments
    real += bytes.fromhex("0f20c0 0c01 0f22c0")  # switch to protected mode
    protected_at = base + code_at + len(real) + 8
    real += bytes.fromhex("66ea") + struct.pack("<IH", protected_at, 8)  # jump there by the table's first segment
    protected = bytes.fromhex("b940420f00 49 75fd b020 e6f4 f4 ebfd")  # count down; write 0x20 to port 0xf4; halt
    rom = bytearray(b"\xf4" * size)
    rom[code_at : code_at + len(real + protected)] = real + protected
    segments = bytes(8) + bytes.fromhex("ffff0000009acf00")  # none, and one of code over all 4 GiB
    rom[table_at : table_at + 6] = struct.pack("<HI", len(segments) - 1, base + table_at + 16)
    rom[table_at + 16 : table_at + 16 + len(segments)] = segments
    rom[-16:-11] = b"\xea" + struct.pack("<HH", code_at, base >> 4)
    return bytes(rom)
