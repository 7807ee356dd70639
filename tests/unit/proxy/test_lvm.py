"""A guest's disk must not be attached to a proxy whose own LVM would touch it.

The texts are those of real machines: what distributions ship, what guides recommend, and what goes wrong.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from vmkeep.proxy import LvmConfigError, LvmSettings, read_machine, why_lvm_touches
from vmkeep.proxy.lvmconfig import parse_config

SHIPPED = r"""
# This is an example configuration file for the LVM2 system.
config {
	# If enabled, any LVM2 configuration mismatch is reported.
	checks = 1
	abort_on_errors = 0
	profile_dir = "/etc/lvm/profile"
}
devices {
	dir = "/dev"
	scan = [ "/dev" ]
	obtain_device_list_from_udev = 1
	# Configuration option devices/global_filter.
	# Example
	# filter = [ "a|loop|", "r|/dev/cdrom|", "r|.*|" ]
	# This configuration option has an automatic default value.
	# global_filter = [ "a|.*|" ]
	types = [ "fd", 16 ]
	sysfs_scan = 1
	ignore_suspended_devices = 0
}
allocation { maximise_cling = 1 mirror_logs_require_separate_pvs = 0 }
log {
	prefix = "  "
	debug_classes = [ "memory", "devices", "io", "activation" ]
}
activation {
	missing_stripe_filler = "error"
	# volume_list = [ "vg1", "vg2/lvol1", "@tag1", "@*" ]
	raid_region_size = 2048
}
"""
"""Shortened from /etc/lvm/lvm.conf of lvm2 2.03."""

OWN_ALONE = 'devices { global_filter = [ "a|^/dev/sda[0-9]*$|", "r|.*|" ] }'
DEVICES_FILE = """\
# LVM uses devices listed in this file.
# Created by LVM command vgimportdevices pid 1234 at Tue Nov 24 10:00:00 2026
VERSION=1.1.3
IDTYPE=sys_wwid IDNAME=naa.6000c29f0000000000000000000000aa DEVNAME=/dev/sda2 PVID=abcdefghijklmnopqrstuvwxyz0123 PART=2
"""


def verdict(config, devices_file=None, own=("sda",)):
    return why_lvm_touches(LvmSettings.from_config(parse_config(config), devices_file), own=own)


@pytest.mark.parametrize(
    "config",
    [
        OWN_ALONE,
        'devices/global_filter = [ "a|^/dev/sda[0-9]*$|", "r|.*|" ]',
        "devices {\n global_filter = [ 'a|^/dev/sda$|', 'a|^/dev/sda[1-9]$|', 'r|.*|' ] # ours\n}",
        'devices { global_filter=["r|^/dev/sd[b-z]|","r|^/dev/sda[a-z]|","r|^/dev/sd[b-z][a-z]|","r|^/dev/disk/|"] }',
        'devices { global_filter = "r|.*|" }',
        'devices { global_filter = [ "a/^\\/dev\\/nvme/", "r/.*/" ] }',
        'devices { global_filter = [ "a{^/dev/sda2$}", "r(.*)" ] }',
        'devices { filter = [ "a|.*|" ]\n global_filter = [ "r|.*|" ] }',
    ],
)
def test_a_filter_that_names_the_proxys_own_disks_alone_keeps_lvm_off(config):
    assert verdict(config) is None


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (SHIPPED, "nothing limits it"),
        ("", "nothing limits it"),
        # Only global_filter keeps udev's pvscan off.
        ('devices { filter = [ "a|^/dev/sda|", "r|.*|" ] }', "nothing limits it"),
        ('devices { global_filter = [ "a|.*|" ] }', "/dev/sdb"),
        # The first rule that fits a name counts.
        ('devices { global_filter = [ "a|.*|", "r|.*|" ] }', "/dev/sdb"),
        # Without a last "r|.*|", what no rule fits is taken.
        ('devices { global_filter = [ "a|^/dev/sda|" ] }', "/dev/sdb"),
        ('devices { global_filter = [ "r|^/dev/cdrom|", "r|^/dev/loop|" ] }', "/dev/sdb"),
        # Pattern without an end: the disk after /dev/sdz is /dev/sdaa.
        ('devices { global_filter = [ "a|^/dev/sda|", "r|.*|" ] }', "/dev/sdaa"),
        # One accepted name of a disk is enough, whatever its other names are.
        ('devices { global_filter = [ "a|^/dev/disk/by-id/|", "r|.*|" ] }', "/dev/sdb"),
        ('devices { global_filter = [ "a|by-path/pci-0000:1b:00.0-scsi-0:0:|", "r|.*|" ] }', "/dev/sdb"),
        ('devices { global_filter = [ "a|sd.*|", "a|nvme.*|", "r|.*|" ] }', "/dev/sdb"),
        ('devices { global_filter = [ "x|.*|" ] }', "cannot be understood"),
        ('devices { global_filter = [ "a|(|" ] }', "cannot be understood"),
        ('devices { global_filter = [ "a" ] }', "cannot be understood"),
        # Set, and without a file: LVM uses none.
        ("devices { use_devicesfile = 1 }", "nothing limits it"),
        ("devices { use_devicesfile = 0 }", "nothing limits it"),
    ],
)
def test_any_other_configuration_is_refused_with_its_reason_and_the_cure(config, reason):
    why = verdict(config)

    assert why is not None
    assert reason in why
    assert "global_filter" in why


def test_a_disk_that_the_proxy_has_is_no_guests_disk():
    both = 'devices { global_filter = [ "a|^/dev/sd[ab][0-9]*$|", "r|.*|" ] }'

    assert "/dev/sdb" in (verdict(both, own=("sda",)) or "")
    assert verdict(both, own=("sda", "sdb")) is None


@pytest.mark.parametrize("text", [DEVICES_FILE, ""])
def test_a_devices_file_in_use_keeps_lvm_off_whatever_the_filter_is(text):
    assert verdict("devices { use_devicesfile = 1 }", text) is None
    assert verdict('devices { use_devicesfile = 1\n global_filter = [ "a|.*|" ] }', text) is None


def test_a_devices_file_that_is_not_in_use_helps_nothing():
    assert verdict("devices { use_devicesfile = 0 }", DEVICES_FILE) is not None
    # The default differs between distributions, so that an unset switch counts as off.
    assert verdict(SHIPPED, DEVICES_FILE) is not None


def test_every_form_of_a_value_is_read():
    assert parse_config(SHIPPED)["devices/types"] == ["fd", 16]
    assert parse_config(SHIPPED)["allocation/mirror_logs_require_separate_pvs"] == 0
    assert parse_config('a { b { c = "x\\"y" } d = [] }\ne/f = word') == {"a/b/c": 'x"y', "a/d": [], "e/f": "word"}
    assert parse_config("a { b = 1\n b = 2 }") == {"a/b": 2}
    assert parse_config('global_filter=["a|.*|"]\nuse_devicesfile=1') == {
        "global_filter": ["a|.*|"], "use_devicesfile": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["devices {", "}", "a =", "a = [ 1", 'a = "', "a b", "= 1", "a = }", "a = [ { ]", "a = [ = ]", "a"]
)
def test_a_text_that_is_no_configuration_is_refused(text):
    with pytest.raises(LvmConfigError):
        parse_config(text)


@pytest.fixture
def machine(tmp_path):
    """A machine of one disk, with some files."""
    (tmp_path / "sys/block/sda").mkdir(parents=True)
    (tmp_path / "sys/block/loop0").mkdir()

    def make(**files):
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("_conf", ".conf")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


def test_a_machine_without_lvm_touches_nothing(machine):
    assert read_machine(machine()).why_lvm is None


def test_a_machines_own_file_wins_over_the_shipped_one(machine):
    root = machine(etc__lvm__lvm_conf=SHIPPED)
    assert "nothing limits it" in (read_machine(root).why_lvm or "")

    assert read_machine(machine(etc__lvm__lvmlocal_conf=OWN_ALONE)).why_lvm is None


def test_the_devices_file_may_have_another_name(machine):
    root = machine(etc__lvm__lvm_conf='devices { use_devicesfile = 1\n devicesfile = "ours" }')
    assert "nothing limits it" in (read_machine(root).why_lvm or "")
    (root / "etc/lvm/devices").mkdir()
    (root / "etc/lvm/devices/system.devices").write_text(DEVICES_FILE)
    assert read_machine(root).why_lvm is not None
    (root / "etc/lvm/devices/ours").write_text(DEVICES_FILE)
    assert read_machine(root).why_lvm is None


def test_an_empty_name_of_the_devices_file_switches_it_off(machine):
    root = machine(etc__lvm__lvm_conf='devices { use_devicesfile = 1\n devicesfile = "" }')
    (root / "etc/lvm/devices").mkdir()
    assert "nothing limits it" in (read_machine(root).why_lvm or "")


def test_a_configuration_that_cannot_be_read_is_refused(machine):
    assert "cannot be read" in (read_machine(machine(etc__lvm__lvm_conf="devices {")).why_lvm or "")


def test_lvm_without_a_configuration_is_refused(machine):
    assert "no lvm.conf" in (read_machine(machine(usr__sbin__lvm="")).why_lvm or "")


def test_a_container_does_not_vouch_for_the_lvm_of_its_machine(machine):
    (root := machine()).joinpath(".dockerenv").touch()
    assert "container" in (read_machine(root).why_lvm or "")

    assert read_machine(machine(etc__lvm__lvm_conf=OWN_ALONE)).why_lvm is None


def test_a_machines_uuid_is_known_in_both_byte_orders(machine):
    root = machine(sys__class__dmi__id__product_uuid="42011A2B-3C4D-5E6F-7081-92A3B4C5D6E7\n")

    assert read_machine(root).uuids == (
        "42011a2b-3c4d-5e6f-7081-92a3b4c5d6e7", "2b1a0142-4d3c-6f5e-7081-92a3b4c5d6e7",
    )  # fmt: skip


@pytest.mark.parametrize("text", ["", "None", "Not Settable"])
def test_a_machine_that_tells_no_uuid_says_so(machine, text):
    found = read_machine(machine(sys__class__dmi__id__product_uuid=text))

    assert found.uuids == ()
    assert "holds no UUID" in found.why_no_uuid


def test_a_uuid_that_cannot_be_read_is_told_with_the_cure_and_only_a_refusal_asks_for_root(machine, monkeypatch):
    assert "product_uuid is not there: " in read_machine(machine()).why_no_uuid

    folder = machine(sys__class__dmi__id__product_uuid__file="")
    assert read_machine(folder).why_no_uuid.endswith("product_uuid cannot be read (Is a directory)")

    def refuse(_path):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)  # the tests may run as root, who may read everything
    assert read_machine(folder).why_no_uuid.endswith("(Permission denied): a worker needs root for that")


def test_a_disk_that_this_user_may_only_read_is_not_writable(tmp_path, monkeypatch):
    links = tmp_path / "dev/disk/by-id"
    links.mkdir(parents=True)
    for name in ("wwn-0x6001", "wwn-0x6002"):
        (links / name).touch()
    # The tests may run as root, who may do everything.
    monkeypatch.setattr("os.access", lambda path, mode: path.name == "wwn-0x6001" or not mode & os.W_OK)

    found = read_machine(tmp_path)

    assert (sorted(found.disks), sorted(found.writable)) == (["wwn-0x6001", "wwn-0x6002"], ["wwn-0x6001"])
