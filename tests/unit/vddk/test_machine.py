"""Needs of the library on a machine, told before it would crash; and the place of its own files."""

import tempfile

import pytest

from vmkeep.errors import TransientError, UsageError
from vmkeep.model.site import Site
from vmkeep.transfer import probe_driver
from vmkeep.vddk import config
from vmkeep.vddk.folder import find_library
from vmkeep.vddk.machine import require_machine


@pytest.fixture
def machine(tmp_path):
    root = tmp_path / "machine"
    (root / "sys/class/scsi_disk").mkdir(parents=True)
    (root / "etc").mkdir()
    (root / "etc/mtab").write_text("")
    return root


@pytest.fixture
def with_plugin(tmp_path):
    """Return a folder that holds a library and VMware's plugin."""
    (tmp_path / "vddk/lib64").mkdir(parents=True)
    return tmp_path / "vddk"


@pytest.fixture
def file(with_plugin, nineteen):
    (with_plugin / "lib64/libdiskLibPlugin.so").write_text("")
    (with_plugin / "lib64/libvixDiskLib.so.8").symlink_to(nineteen / "lib64/libvixDiskLib.so.6.5.0")
    return find_library(with_plugin)


def test_a_machine_with_scsi_disks_and_mounts_will_do(file, machine):
    require_machine(file, root=machine)


@pytest.mark.parametrize(("name", "remedy"), [("sys/class/scsi_disk", "modprobe sd_mod"), ("etc/mtab", "ln -s /proc")])
def test_a_machine_on_which_vddk_would_crash_is_refused_with_the_remedy(file, machine, name, remedy):
    (machine / name).rename(machine / "gone")
    with pytest.raises(UsageError, match=rf"crashes on a machine without /{name}: .*{remedy}"):
        require_machine(file, root=machine)


def test_a_link_to_nowhere_is_no_table_of_mounts(file, machine):
    (machine / "etc/mtab").unlink()
    (machine / "etc/mtab").symlink_to("/proc/0/mounts")
    with pytest.raises(UsageError, match="/etc/mtab"):
        require_machine(file, root=machine)


def test_a_library_without_the_plugin_needs_none_of_it(nineteen, tmp_path):
    require_machine(find_library(nineteen), root=tmp_path)


def test_no_child_is_started_on_such_a_machine(file, monkeypatch, tmp_path):
    monkeypatch.setattr("vmkeep.vddk.driver.MACHINE", tmp_path)
    with pytest.raises(UsageError, match="crashes on a machine without /sys/class/scsi_disk"):
        probe_driver(Site(repository="", vddk=str(file.folder)))


def test_the_state_folder_has_no_blank_in_its_path(monkeypatch, tmp_path):
    (tmp_path / "t m p").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "t m p"))
    assert not any(map(str.isspace, str(config.state_folder())))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert config.state_folder().parent == tmp_path


def test_a_machine_without_any_place_for_it_is_told(monkeypatch, tmp_path):
    (tmp_path / "t m p").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "t m p"))
    monkeypatch.setattr(config.os, "access", lambda *_: False)
    with pytest.raises(UsageError, match="TMPDIR"):
        config.state_folder()


def test_a_machine_whose_folders_for_temporary_files_are_full_is_told(monkeypatch):
    def none_left() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(tempfile, "gettempdir", none_left)
    with pytest.raises(TransientError, match="free space"):
        config.state_folder()
