"""The peers from Debian's packages, each used as its manual suggests for disk images."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from bench.contestant import remove
from bench.disk import BenchDisk
from bench.measure import Command

_GENERATIONS = ("full", "clone", "incremental", "unchanged", "restore", "verify")
_ARCHIVES = {"full": "0", "clone": "1", "incremental": "2", "unchanged": "3"}


class Restic:
    """restic: content-defined blocks of about 1 MiB, zstd, always encrypted."""

    name = "restic"
    steps = _GENERATIONS
    restores = "changed"

    def __init__(self, folder: Path) -> None:
        self._repository = folder / "restic"
        self._cache = folder / "restic-cache"
        self.places = (self._repository,)
        self.out = folder / "restored-restic"
        self._environment = {
            "RESTIC_PASSWORD": "bench",
            "RESTIC_REPOSITORY": str(self._repository),
            "RESTIC_CACHE_DIR": str(self._cache),
        }
        self._sparse = "--sparse" in self._call("restore", "--help")

    def prepare(self) -> None:
        """Make an empty repository."""
        remove(self._repository, self._cache, self.out)
        self._call("init", "--repository-version", "2")

    def command(self, step: str, disk: BenchDisk) -> Command:
        """Return the command of a step."""
        if step == "restore":
            sparse = ["--sparse"] if self._sparse else []
            argv = ["restore", "latest", *sparse, "--target", str(self.out)]
            return self._run(argv, output=self.out / disk.image.relative_to("/"))
        return self._run(["check", "--read-data"] if step == "verify" else ["backup", str(disk.image)])

    def _run(self, argv: list[str], output: Path | None = None) -> Command:
        return Command(argv=["restic", "-q", *argv], environment=self._environment, output=output)

    def _call(self, *argv: str) -> str:
        environment = os.environ | self._environment
        return subprocess.run(["restic", *argv], check=True, capture_output=True, text=True, env=environment).stdout


class Borg:
    """borg: fixed blocks, zstd level 1, holes skipped, not encrypted; one thread."""

    restores = "changed"

    def __init__(self, folder: Path, *, block: int, steps: tuple[str, ...] = _GENERATIONS) -> None:
        size = f"{block >> 20} MiB" if block >= 1 << 20 else f"{block >> 10} KiB"
        self.name = f"borg {size}"
        self.steps = steps
        self._block = block
        self._repository = folder / f"borg-{block}"
        self._base = folder / f"borg-base-{block}"
        self.places = (self._repository,)
        self.out = folder / "restored-borg"
        self._environment = {"BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes", "BORG_BASE_DIR": str(self._base)}

    def prepare(self) -> None:
        """Make an empty repository."""
        remove(self._repository, self._base, self.out)
        argv = ["borg", "init", "-e", "none", str(self._repository)]
        subprocess.run(argv, check=True, capture_output=True, env=os.environ | self._environment)

    def command(self, step: str, disk: BenchDisk) -> Command:
        """Return the command of a step."""
        if step == "restore":
            self.out.mkdir(exist_ok=True)
            argv = ["extract", "--sparse", f"{self._repository}::2"]
            return self._run(argv, cwd=self.out, output=self.out / disk.image.relative_to("/"))
        if step == "verify":
            return self._run(["check", "--verify-data", str(self._repository)])
        options = ["-C", "zstd,1", "--chunker-params", f"fixed,{self._block}", "--sparse"]
        return self._run(["create", *options, f"{self._repository}::{_ARCHIVES[step]}", str(disk.image)])

    def _run(self, argv: list[str], cwd: Path | None = None, output: Path | None = None) -> Command:
        return Command(argv=["borg", *argv], environment=self._environment, cwd=cwd, output=output)


class QemuImg:
    """qemu-img convert: a raw image into a compressed qcow2 (zstd), and back."""

    name = "qemu-img -c zstd"
    steps = ("full", "restore", "overwrite")
    restores = "full"

    def __init__(self, folder: Path) -> None:
        self._qcow = folder / "disk.qcow2"
        self.places = (self._qcow,)
        self.out = folder / "restored-qemu.raw"

    def prepare(self) -> None:
        """Remove what there was."""
        remove(self._qcow, self.out)

    def command(self, step: str, disk: BenchDisk) -> Command:
        """Return the command of a step. What it restores is the disk of its full backup."""
        if step == "full":
            options = ["-c", "-f", "raw", "-O", "qcow2", "-o", "compression_type=zstd"]
            return Command(argv=["qemu-img", "convert", *options, str(disk.image), str(self._qcow)])
        keep = ["-n"] if step == "overwrite" else []
        argv = ["qemu-img", "convert", *keep, "-f", "qcow2", "-O", "raw", str(self._qcow), str(self.out)]
        return Command(argv=argv, output=self.out)


class Cp:
    """cp: no compression, no digests."""

    name = "cp --sparse"
    steps = ("full",)
    restores = "full"

    def __init__(self, folder: Path) -> None:
        self.out = folder / "cp.raw"
        self.places = (self.out,)

    def prepare(self) -> None:
        """Remove what there was."""
        remove(self.out)

    def command(self, step: str, disk: BenchDisk) -> Command:
        """Return the command of its one step."""
        return Command(argv=["cp", "--sparse=always", str(disk.image), str(self.out)])
