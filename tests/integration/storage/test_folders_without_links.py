"""Folders on file systems without hard links: FAT, and what an older kernel or a network does to exFAT and SMB."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.patience import HANG
from tests.racing import create, decide, end, race
from tests.sealed import store_file
from vmkeep.blobs import naming
from vmkeep.blobs.local import LocalStore
from vmkeep.errors import RepositoryError
from vmkeep.maintenance.margins import Margins
from vmkeep.maintenance.plan import plan_prune
from vmkeep.maintenance.prune import execute
from vmkeep.repository import create_repository


@pytest.fixture
def fat(tmp_path):
    """A real FAT file system, which has no hard links, in user space, which passes no flags of a rename on."""
    if not (shutil.which("fusefat") and shutil.which("mkfs.vfat") and Path("/dev/fuse").exists()):
        pytest.skip("takes fusefat, dosfstools and /dev/fuse")
    image, folder = tmp_path / "fat.img", tmp_path / "fat"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.vfat", image], check=True, capture_output=True, timeout=HANG)
    subprocess.run(["fusefat", "-o", "rw+", image, folder], check=True, capture_output=True, timeout=HANG)
    yield folder
    for _ in range(100):
        if subprocess.run(["umount", folder], capture_output=True, timeout=HANG).returncode == 0:
            break
        time.sleep(0.1)


LACKS = pytest.mark.parametrize(
    "lacks", [{}, {"links": False}, {"links": False, "flags": False}], ids=["nothing", "links", "links and flags"]
)


@LACKS
def test_of_several_processes_that_create_a_blob_exactly_one_succeeds(tmp_path, lacks):
    assert {sum(won) for won in race(tmp_path, create, rounds=300, **lacks)} == {1}


def test_of_several_processes_that_create_a_blob_on_a_fat_exactly_one_succeeds(fat):
    assert {sum(won) for won in race(fat, create, rounds=60)} == {1}


@LACKS
def test_a_prune_and_a_veto_never_both_win(tmp_path, lacks):
    """Else the prune deletes a pack on which whoever vetoed has sealed a point."""
    assert all(len(set(each)) == 1 for each in race(tmp_path, decide, rounds=200, **lacks))


@LACKS
def test_of_several_who_end_a_forgotten_sweep_none_takes_anything_and_none_fails(tmp_path, lacks):
    assert {sum(each) for each in race(tmp_path, end, rounds=100, **lacks)} == {0}


def refuse(code):
    def call(*_arguments):
        raise OSError(code, os.strerror(code))

    return call


def test_a_rename_that_keeps_what_is_there_is_as_good_as_hard_links(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", refuse(errno.EPERM))

    LocalStore(tmp_path).check_creates()

    assert list((tmp_path / ".tmp").iterdir()) == []


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_prune_refuses_a_folder_where_two_machines_may_both_create_a_blob(tmp_path, monkeypatch, code):
    monkeypatch.setattr(os, "link", refuse(errno.EPERM))
    monkeypatch.setattr(naming, "rename_if_free", refuse(code))

    _require_prune_refused(tmp_path / "repository")


def test_a_prune_refuses_a_fat_that_is_mounted_in_user_space_and_a_backup_goes_there(fat):
    _require_prune_refused(fat / "repository")


def test_a_prune_refuses_a_fat_behind_ssh_and_a_backup_goes_there(fat, ssh_server, ssh_home):
    _require_prune_refused(ssh_server.location(fat / "repository"))


def test_whoever_makes_a_repository_is_told_at_once_what_will_be_refused(fat):
    command = [Path(sys.executable).parent / "vmkeep", "repo", "init", "-r", str(fat / "repository")]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=HANG)

    assert "nothing can be deleted safely there" in result.stderr
    assert "created at" in result.stdout


def _require_prune_refused(location):
    with create_repository(str(location)) as repository:
        root, size = store_file(repository, b"content", run="run")
        packs = [blob.key for blob in repository.blobs.list("packs/")]
        plan = plan_prune(repository, None, margins=Margins(), now=datetime(2026, 1, 1, tzinfo=UTC))

        with pytest.raises(RepositoryError, match=r"repository: nothing can be deleted safely there, .*hard links"):
            execute(repository, plan)

        assert packs
        assert [blob.key for blob in repository.blobs.list("packs/")] == packs
        assert (root, size) == store_file(repository, b"content", run="another run")
