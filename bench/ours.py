"""vmkeep by its command line, and the C programs that show what its algorithms cost at least."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.contestant import BLOCK, remove
from bench.disk import BenchDisk
from bench.measure import Command
from bench.programs import VMKEEP

_PASSPHRASE = {"VMKEEP_PASSPHRASE": "a passphrase"}
_OVERWRITE = Path(__file__).parent / "drivers" / "overwrite.py"
_ALL = ("full", "clone", "incremental", "unchanged", "restore", "overwrite", "verify")


class Vmkeep:
    """A repository of vmkeep."""

    restores = "changed"

    def __init__(
        self, folder: Path, *, steps: Sequence[str] = _ALL, compression: str = "zstd", encrypted: bool = False
    ) -> None:
        variant = "encrypted" if encrypted else compression
        self.name = f"vmkeep {variant}"
        self.steps = steps
        self.repository = folder / f"vmkeep-{variant}"
        self.places = (self.repository,)
        self.out = folder / f"restored-{variant}.raw"
        self._init = ["--compression", compression, *(["--encrypt"] if encrypted else [])]
        self._environment = _PASSPHRASE if encrypted else {}

    def prepare(self) -> None:
        """Make an empty repository."""
        remove(self.repository, self.out)
        argv = [VMKEEP, "repo", "init", "--repository", str(self.repository), *self._init]
        subprocess.run(argv, check=True, capture_output=True, env=os.environ | self._environment)

    def command(self, step: str, disk: BenchDisk) -> Command:
        """Return the command of a step."""
        where = ["--repository", str(self.repository), "--json"]
        take = [VMKEEP, "image", "import", *where, str(disk.image), "--name"]
        match step:
            case "full" | "clone":
                return self._run([*take, "disk" if step == "full" else "clone"])
            case "incremental":
                return self._run([*take, "disk", *self._since(), "--extents", str(disk.write_extents("changed"))])
            case "unchanged":
                return self._run([*take, "disk", *self._since(), "--extents", str(disk.write_extents("full"))])
            case "restore":
                export = ["image", "export", *where, "latest:disk", "--disk", "0", str(self.out)]
                return self._run([VMKEEP, *export], output=self.out)
            case "overwrite":
                argv = [sys.executable, str(_OVERWRITE), str(self.repository), "latest:disk", str(self.out)]
                return self._run(argv, output=self.out)
            case _:
                return self._run([VMKEEP, "repo", "check", *where, "--read-data"])

    def _since(self) -> list[str]:
        """Return the option that names the point which the disk was imported as last."""
        argv = [VMKEEP, "point", "show", "latest:disk", "--repository", str(self.repository), "--json"]
        done = subprocess.run(argv, check=True, capture_output=True, env=os.environ | self._environment)
        return ["--since", json.loads(done.stdout)["ref"]]

    def _run(self, argv: list[str], output: Path | None = None) -> Command:
        return Command(argv=argv, environment=self._environment, output=output)


class Limit:
    """The C programs, with as many threads as there are cores. They know no second generation."""

    name = "limit (C)"
    steps = ("full", "restore", "overwrite", "verify")
    restores = "full"

    def __init__(self, folder: Path, programs: dict[str, Path]) -> None:
        self._packs = folder / "limit-packs"
        self.places = (self._packs,)
        self.out = folder / "restored-limit.raw"
        self._programs = programs
        self._threads = str(os.cpu_count() or 1)

    def prepare(self) -> None:
        """Make an empty place."""
        remove(self._packs, self.out)
        self._packs.mkdir()

    def command(self, step: str, disk: BenchDisk) -> Command:
        """Return the command of a step. What it restores is the disk of its full backup."""
        if step == "full":
            argv = [str(self._programs["limit"]), str(disk.image), str(self._packs), self._threads, str(BLOCK)]
            return Command(argv=argv)
        output = None if step == "verify" else self.out
        argv = [str(self._programs["limit_restore"]), str(self._packs), str(output or "-"), self._threads]
        return Command(argv=argv, output=output)
