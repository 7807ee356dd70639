"""The programs that are compared, each as the command lines of its steps."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from disk import BenchDisk

BLOCK = 262144


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command, timed from its start to its exit."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)


class Limit:
    """The C program: what the algorithms cost at least. It knows only how to make a full backup."""

    name = "limit (C)"

    def __init__(self, folder: Path, program: Path) -> None:
        self.repository = folder / "limit"
        self._program = program

    def prepare(self) -> None:
        """Make an empty place."""
        shutil.rmtree(self.repository, ignore_errors=True)
        self.repository.mkdir()

    def steps(self, disk: BenchDisk) -> list[Step]:
        """Return the steps in order."""
        threads = str(os.cpu_count() or 1)
        command = [str(self._program), str(disk.full), str(self.repository), threads, str(BLOCK)]
        return [Step(name="full", command=command)]


class Vmkeep:
    """Ours, by its command line."""

    name = "vmkeep"

    def __init__(self, folder: Path) -> None:
        self.repository = folder / "vmkeep"
        self._out = folder / "restored-vmkeep.raw"
        self._program = str(Path(sys.executable).with_name("vmkeep"))

    def prepare(self) -> None:
        """Make an empty repository."""
        shutil.rmtree(self.repository, ignore_errors=True)
        self._out.unlink(missing_ok=True)
        subprocess.run(
            [self._program, "repo", "init", "--repository", self.repository], check=True, capture_output=True
        )

    def steps(self, disk: BenchDisk) -> list[Step]:
        """Return the steps in order."""
        extents = disk.changed.with_suffix(".json")
        extents.write_text(json.dumps(disk.extents))
        where = ["--repository", str(self.repository), "--json"]
        take = [self._program, "image", "import", *where, "--name"]
        export = [self._program, "image", "export", *where, "latest:disk", "--disk", "0", str(self._out)]
        return [
            Step(name="full", command=[*take, "disk", str(disk.full)]),
            Step(name="clone", command=[*take, "clone", str(disk.clone)]),
            Step(name="incremental", command=[*take, "disk", str(disk.changed), "--extents", str(extents)]),
            Step(name="restore", command=export),
            Step(name="verify all", command=[self._program, "repo", "check", *where, "--read-data"]),
        ]


class Restic:
    """restic: content-defined chunks, always encrypted."""

    name = "restic"

    def __init__(self, folder: Path) -> None:
        self.repository = folder / "restic"
        self._out = folder / "restored-restic"
        self._environment = {
            "RESTIC_PASSWORD": "bench", "RESTIC_REPOSITORY": str(self.repository),
            "RESTIC_CACHE_DIR": str(folder / "restic-cache"),
        }  # fmt: skip

    def prepare(self) -> None:
        """Make an empty repository."""
        for folder in (self.repository, self._out, Path(self._environment["RESTIC_CACHE_DIR"])):
            shutil.rmtree(folder, ignore_errors=True)
        command = ["restic", "init", "--repository-version", "2"]
        subprocess.run(command, check=True, capture_output=True, env=os.environ | self._environment)

    def steps(self, disk: BenchDisk) -> list[Step]:
        """Return the steps in order."""
        commands = {
            "full": ["backup", str(disk.full)],
            "clone": ["backup", str(disk.clone)],
            "incremental": ["backup", str(disk.changed)],
            "restore": ["restore", "latest", "--sparse", "--target", str(self._out)],
            "verify all": ["check", "--read-data"],
        }
        if (
            "--sparse"
            not in subprocess.run(["restic", "restore", "--help"], capture_output=True, text=True, check=True).stdout
        ):
            commands["restore"].remove("--sparse")
        return [
            Step(name=name, command=["restic", "-q", *command], environment=self._environment)
            for name, command in commands.items()
        ]


class Borg:
    """borg: fixed 4 MiB blocks, zstd level 1, one thread."""

    name = "borg"

    def __init__(self, folder: Path) -> None:
        self.repository = folder / "borg"
        self._folder = folder
        self._environment = {
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes", "BORG_BASE_DIR": str(folder / "borg-base"),
        }  # fmt: skip

    def prepare(self) -> None:
        """Make an empty repository."""
        for folder in (self.repository, Path(self._environment["BORG_BASE_DIR"])):
            shutil.rmtree(folder, ignore_errors=True)
        command = ["borg", "init", "-e", "none", str(self.repository)]
        subprocess.run(command, check=True, capture_output=True, env=os.environ | self._environment)

    def steps(self, disk: BenchDisk) -> list[Step]:
        """Return the steps in order."""
        create = ["borg", "create", "-C", "zstd,1", "--chunker-params", "fixed,4194304", "--sparse"]
        out = "restored-borg"
        restore = f"rm -rf {out} && mkdir {out} && cd {out} && borg extract --sparse {self.repository}::2"
        commands = {
            "full": [*create, f"{self.repository}::0", str(disk.full)],
            "clone": [*create, f"{self.repository}::1", str(disk.clone)],
            "incremental": [*create, f"{self.repository}::2", str(disk.changed)],
            "restore": ["sh", "-c", f"cd {self._folder} && {restore}"],
            "verify all": ["borg", "check", "--verify-data", str(self.repository)],
        }
        return [Step(name=name, command=command, environment=self._environment) for name, command in commands.items()]
