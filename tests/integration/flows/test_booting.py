"""A restore point that runs as a machine in QEMU, without a restore."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import run_here
from tests.patience import HANG, eventually
from vmkeep.images import import_images
from vmkeep.qemu import Accelerator, find_qemu
from vmkeep.qemu.accelerators import runs
from vmkeep.repository import create_repository

BOOT = ("point", "boot", "--accelerator", "tcg", "--memory", "192", "--cpus", "1")


@pytest.fixture(scope="module")
def site(guest_image, guest_disks, tmp_path_factory):
    """A repository with a Linux of two disks, a boot loader that waits, and a disk that nothing boots from."""
    folder = tmp_path_factory.mktemp("booting")
    repository = create_repository(str(folder / "repository"))
    second = folder / "second.raw"
    second.write_bytes(bytes(1 << 20))
    import_images(repository, [guest_image, second], name="linux")
    import_images(repository, [second], name="empty")
    import_images(repository, [guest_disks.path("viii-mini")], name="loader")
    return repository.location


def test_a_point_boots_to_its_log_in_prompt_and_leaves_a_picture(site, tmp_path):
    picture = tmp_path / "screen.png"
    done = run_here(
        *BOOT, "latest:image-linux", "-r", site, "--wait-for", "login", "--timeout", str(HANG),
        "--screenshot", str(picture), "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["seen"]["awaited"]["sign"], said["accelerator"]) == ("login", "tcg")
    assert said["disks"] == ["Hard disk 1", "Hard disk 2"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert not Path(f"/proc/{said['process']}").exists()


def test_a_point_that_does_not_boot_is_told_by_the_exit_code_and_in_words(site):
    done = run_here(*BOOT, "latest:image-empty", "-r", site, "--wait-for", "login", "--timeout", str(HANG))
    assert done.returncode == 38
    assert "No bootable device" in done.stderr


def test_a_boot_loader_that_waits_for_a_person_proves_no_more_here_than_it_does_to_verify(site, tmp_path):
    picture = tmp_path / "screen.png"
    done = run_here(
        *BOOT, "latest:image-loader", "-r", site, "--wait-for", "login", "--timeout", str(HANG),
        "--screenshot", str(picture), "--json",
    )  # fmt: skip
    assert done.returncode == 93, done.stderr
    assert "boot undecided: a boot loader waits for a person: 'boot:' on the serial port" in done.stderr
    assert json.loads(done.stdout)["seen"]["awaited"]["sign"] == "login"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_no_machine_outlives_a_killed_command(site):
    command = [sys.executable, "-m", "vmkeep.cli.main", *BOOT, "latest:image-empty", "-r", site]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL) as running:
        line = running.stdout.readline()
        qemu = Path(f"/proc/{line.split('(process ')[1].split(')')[0]}")
        os.kill(running.pid, signal.SIGKILL)
        running.wait(HANG)
    eventually(lambda: not qemu.exists() or "Z" in (qemu / "stat").read_text().split()[2], "QEMU's end")


def test_an_accelerator_proves_itself_by_a_program_or_is_not_taken():
    assert runs(find_qemu(), Accelerator.TCG, seconds=HANG)
    assert not runs(find_qemu(), Accelerator.TCG, seconds=0.001)
