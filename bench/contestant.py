"""The contract of a contestant: a place of its own, and a command for each step that it takes part in."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from bench.disk import BenchDisk
from bench.measure import Command

BLOCK = 256 << 10

STEPS = ("full", "clone", "incremental", "unchanged", "restore", "overwrite", "verify")
"""In the order of one round. Each goes on from what the ones before have stored."""

STATES = {"full": "full", "clone": "clone"}
"""The disk's state at a step; ``changed`` at all others."""


class Contestant(Protocol):
    """A program in one way of using it."""

    @property
    def name(self) -> str:
        """Its name in the tables."""

    @property
    def places(self) -> Sequence[Path]:
        """The files it keeps: counted as stored, and removed after its last step."""

    @property
    def steps(self) -> Sequence[str]:
        """The steps that it takes part in."""

    @property
    def out(self) -> Path:
        """The file that it restores to, or the folder below which it does."""

    @property
    def restores(self) -> str:
        """The state of the disk that it restores."""

    def prepare(self) -> None:
        """Begin with nothing stored."""

    def command(self, step: str, disk: BenchDisk) -> Command:
        """Return the command of one of its steps."""


def remove(*places: Path) -> None:
    """Remove files and folders that may not exist."""
    for place in places:
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
