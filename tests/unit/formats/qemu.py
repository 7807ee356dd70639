"""QEMU's own tools, which make and judge images."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path


def qemu_img(*arguments: object) -> str:
    return _run("qemu-img", *map(str, arguments))


def qemu_io(image: Path, *commands: str, form: str = "qcow2") -> None:
    """Write into an image, e.g. by ``write -P 7 0 64k``."""
    _run("qemu-io", "-f", form, *(word for command in commands for word in ("-c", command)), str(image))


def faults(image: Path) -> tuple[int, int, int]:
    """Return leaked clusters, corruptions and errors by ``qemu-img check``."""
    found = json.loads(qemu_img("check", "--output=json", image))
    return found.get("leaks", 0), found.get("corruptions", 0), found["check-errors"]


def _run(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
