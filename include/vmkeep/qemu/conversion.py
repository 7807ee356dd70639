"""Lets ``virt-v2v-in-place`` make a guest ready for KVM: drivers for virtio in its start-up, and names of its disks.

It writes to the disks that it is given, so they are overlays. It looks into the guest by libguestfs, which starts a
small machine in QEMU; that machine gets no KVM unless KVM has proved itself.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from vmkeep.errors import ConversionError, UnsupportedError
from vmkeep.qemu.accelerators import Accelerator, choose_accelerator
from vmkeep.qemu.programs import find_qemu, find_setpriv
from vmkeep.scratch import private_folder

_PROGRAM: Final = "virt-v2v-in-place"
_LONGEST: Final = 4 * 3600.0
"""Seconds after which a conversion is given up. Usual ones take minutes."""
_TICK: Final = 0.25
_END_SECONDS: Final = 10.0
_WORDS: Final = 600
_READ: Final = 1 << 20
_READY: Final = "This guest has virtio drivers installed"
"""The program's words when the guest can start from virtio disks."""


def require_converter() -> None:
    """Return if guests can be converted on this machine.

    :raises UnsupportedError: a program that is needed is not installed.
    """
    if shutil.which(_PROGRAM) is None:
        raise UnsupportedError(
            f"{_PROGRAM} is not installed on this machine: install virt-v2v, or export without --convert"
        )
    _find_qemu_img()
    find_qemu()
    find_setpriv()


def make_overlay(image: Path, form: str, overlay: Path) -> None:
    """Make a file an overlay over an image in the same folder, so that what is written goes into the overlay.

    :param form: the image's format as QEMU names it.
    :raises ConversionError: QEMU cannot make it.
    """
    command = [_find_qemu_img(), "create", "-q", "-f", "qcow2", "-b", image.name, "-F", form, str(overlay)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise ConversionError(f"{overlay.name}: {_last_words(done.stderr)}")


def convert(domain: str, *, check: Callable[[], None]) -> bool:
    """Convert the guest of a libvirt domain in place. Return whether it can start from virtio disks.

    :param domain: the domain's XML, with overlays as disks.
    :param check: called about four times a second; its error ends the conversion.
    :raises ConversionError: the guest was not converted. The message has the program's words.
    """
    with private_folder() as folder:
        (folder / "domain.xml").write_text(domain)
        command = [
            find_setpriv(), "--pdeathsig", "TERM", "--",
            _PROGRAM, "-i", "libvirtxml", "--root", "single", str(folder / "domain.xml"),
        ]  # fmt: skip
        with (folder / "words").open("w+b") as words:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=words, stderr=words, env=_environment(),
                start_new_session=True,
            )  # fmt: skip
            try:
                _wait(process, check)
            finally:
                _end(process)
            words.seek(max(0, words.seek(0, os.SEEK_END) - _READ))
            said = words.read().decode("utf-8", "replace")
    if process.returncode:
        raise ConversionError(_last_words(said) or f"{_PROGRAM} ended with {process.returncode} and without a word")
    return _READY in said


def _find_qemu_img() -> str:
    if (found := shutil.which("qemu-img")) is None:
        raise UnsupportedError("qemu-img is not installed on this machine: install qemu-utils")
    return found


def _environment() -> dict[str, str]:
    settings = {"LC_ALL": "C.UTF-8", "LIBGUESTFS_BACKEND": os.environ.get("LIBGUESTFS_BACKEND", "direct")}
    if choose_accelerator(find_qemu(), Accelerator.AUTO).accelerator is Accelerator.TCG:
        settings["LIBGUESTFS_BACKEND_SETTINGS"] = "force_tcg"
    return os.environ | settings


def _wait(process: subprocess.Popen[bytes], check: Callable[[], None]) -> None:
    give_up = time.monotonic() + _LONGEST
    while time.monotonic() < give_up:
        check()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_TICK)
            return
    raise ConversionError(f"{_PROGRAM} did not end within {_LONGEST / 3600:.0f} hours")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the program and all that it has started, if it runs."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        os.killpg(process.pid, sign)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)


def _last_words(said: str) -> str:
    """Return the program's error in one line, or else the end of its words."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    first = next((at for at, line in enumerate(lines) if "error:" in line), max(0, len(lines) - 3))
    return " ".join(lines[first:])[:_WORDS]
