"""The boot test: a point with a boot loader is started in QEMU, until the loader asks on the serial port.

Without a system behind it, this is what vmkeep and QEMU cost: the start of the process, the opened point, the server of
its disks, QEMU, the firmware, the picture, and the proof. A real guest adds the time of its own start.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import zstandard

from bench.contestant import remove
from bench.measure import Command, Stopwatch, say
from bench.programs import VMKEEP
from bench.report import Row

_DISK = Path(__file__).parents[2] / "tests" / "fixtures" / "guest" / "viii-mini.raw.zst"
_SIGN = "boot:"
"""Syslinux writes this, and waits."""


@dataclass(frozen=True, slots=True)
class BootRow:
    """Boot tests of one point."""

    stopwatch: Stopwatch
    folder: Path

    def run(self, rounds: int) -> list[Row]:
        """Return the row ``boot``."""
        repository, image = self.folder / "boot", self.folder / "boot.raw"
        with _DISK.open("rb") as packed, image.open("wb") as out:
            zstandard.ZstdDecompressor().copy_stream(packed, out)
        row = Row(name="boot", title="boot test of a point", size=image.stat().st_size, of="disk")
        where = ["--repository", str(repository)]
        subprocess.run([VMKEEP, "repo", "init", *where], check=True, capture_output=True)
        subprocess.run(
            [VMKEEP, "image", "import", *where, str(image), "--name", "loader"], check=True, capture_output=True
        )
        check = [VMKEEP, "point", "verify", *where, "latest:loader", "--level", "boot", "--wait-for", _SIGN]
        for number in range(rounds):
            say(f"boot, round {number + 1} of {rounds} …")
            for accelerator in ("tcg", "auto"):
                command = Command(argv=[*check, "--accelerator", accelerator])
                row.add(f"point verify --level boot --accelerator {accelerator}", self.stopwatch.run(command))
        row.notes.append(f"from the start of the process until the proof is kept; the sign is '{_SIGN}'")
        remove(repository, image)
        return [row]
