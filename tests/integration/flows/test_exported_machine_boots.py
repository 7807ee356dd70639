"""A Linux that was exported for libvirt starts from its images, as libvirt's driver tells QEMU to."""

from __future__ import annotations

import json
import shlex
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.command_line import run_here
from tests.guest_image import DISK, LOGIN
from tests.libvirt import native
from tests.patience import eventually
from vmkeep.repository import create_repository

_DAEMONS = ("-S", "-mon", "-vnc", '"secret"', "socket,", "virtserialport")
"""Marks of options that need libvirt's daemon, or a port that another process may have."""


@pytest.fixture
def folder():
    """A folder that libvirt reaches as a user without rights."""
    with tempfile.TemporaryDirectory(prefix="vmkeep-boot-", dir="/tmp", ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o777)
        yield Path(made)


def command_of(domain: str, folder: Path) -> list[str]:
    """QEMU's command line for a domain, without the options that need libvirt's daemon."""
    words = shlex.split(native(domain, folder))
    first = next(at for at, word in enumerate(words) if word.startswith("/"))
    options: list[list[str]] = []
    for word in words[first + 1 :]:
        if word.startswith("-"):
            options.append([word])
        else:
            options[-1].append(word)
    kept = [option for option in options if not any(mark in word for word in option for mark in _DAEMONS)]
    return [words[first], "-display", "none", *(word for option in kept for word in option)]


def test_a_linux_exported_for_libvirt_starts_to_its_log_in_prompt(guest_image, folder):
    repository = str(folder / "repository")
    create_repository(repository)
    described = ("--guest-id", "debian12_64Guest", "--memory", "192", "--cpus", "1")
    imported = run_here("image", "import", str(guest_image), "--name", "linux", "-r", repository, *described)
    assert imported.returncode == 0, imported.stderr
    exported = run_here(
        "point", "export", "latest:linux", "--to", "libvirt", "--out", str(folder), "--name", "moved", "-r", repository,
        "--verify", "all", "--json",
    )  # fmt: skip
    assert exported.returncode == 0, exported.stderr
    (image,) = (disk["files"][0]["name"] for disk in json.loads(exported.stdout)["disks"])

    serial = folder / "serial"
    domain = (folder / "moved.libvirt.xml").read_text()
    port = f'<serial type="file"><source path="{serial}"/></serial>'
    command = command_of(domain.replace('<serial type="pty"/>', port).replace('<console type="pty"/>', ""), folder)

    assert str(folder / image) in " ".join(command)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        try:
            eventually(
                lambda: running.poll() is not None or (serial.exists() and LOGIN in serial.read_text(errors="replace")),
                "the log-in prompt",
            )
            assert running.poll() is None, running.stderr.read()
        finally:
            running.kill()
    assert DISK in serial.read_text(errors="replace")
