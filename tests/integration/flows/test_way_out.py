"""A backed-up VM goes to another hypervisor: its images, its description, and the list of what does not come along."""

from __future__ import annotations

import json
import subprocess
from xml.etree import ElementTree as ET

import pytest

from tests.patience import HANG
from vmkeep.errors import UsageError
from vmkeep.repository import open_site_repository


@pytest.fixture
def export(kept, vmkeep, tmp_path):
    """Export the kept point of web01 into a folder."""
    site, point = kept

    def run(*options):
        return vmkeep(
            "point", "export", point, "--out", str(tmp_path), "--repository", site.repository, "--json", *options
        )

    return run


@pytest.mark.parametrize(
    ("to", "described"),
    [
        ("libvirt", ["web01.libvirt.xml"]),
        ("proxmox", ["web01.proxmox.sh"]),
        ("openstack", ["web01.openstack.json", "web01.openstack.sh"]),
    ],
)
def test_the_machine_goes_along_with_its_images(kept, export, tmp_path, to, described):
    told = json.loads(export("--to", to).output)

    images = [disk["files"][0]["name"] for disk in told["disks"]]
    assert all(name.endswith(".qcow2") for name in images)
    beside = [*described, "web01.machine.json", "web01.notes.txt"]
    assert sorted(file["name"] for file in told["beside"]) == sorted(beside)
    text = (tmp_path / described[-1]).read_text()
    assert all(name in text for name in images)
    if to == "libvirt":
        sources = [each.get("file") for each in ET.fromstring(text).findall("devices/disk/source")]
        assert sorted(sources) == sorted(str(tmp_path / name) for name in images)
    else:
        subprocess.run(["bash", "-n", tmp_path / described[-1]], check=True, timeout=HANG)
    machine = json.loads((tmp_path / "web01.machine.json").read_text())
    with open_site_repository(kept[0]) as repository:
        point = repository.find_point(kept[1])
    assert [disk["key"] for disk in machine["machine"]["disks"]] == [image.disk.key for image in point.images]
    parts = [left["part"] for left in machine["left_out"]]
    assert [left["part"] for left in told["left_out"]] == parts
    assert any(part.startswith("NVRAM") for part in parts)
    notes = (tmp_path / "web01.notes.txt").read_text()
    unwrapped = " ".join(notes.split())
    assert all(part in unwrapped for part in parts)


def test_cards_go_where_a_person_says(export, tmp_path):
    export("--to", "libvirt", "--drivers", "virtio", "--network", "VM Network=bridge:br9")

    root = ET.parse(tmp_path / "web01.libvirt.xml").getroot()

    assert {each.get("bridge") for each in root.findall("devices/interface/source")} == {"br9"}
    assert {each.get("bus") for each in root.findall("devices/disk/target")} == {"scsi"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "--format"),
        (("--format", "raw", "--drivers", "safe"), "--to"),
        (("--to", "proxmox", "--network", "VM Network"), "OLD=NEW"),
        (("--to", "proxmox", "--network", "nowhere=vmbr0"), "'VM Network'"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_before_anything_is_written(export, tmp_path, options, words):
    with pytest.raises(UsageError, match=words):
        export(*options)

    assert list(tmp_path.glob("web01*")) == []


def test_a_name_that_is_taken_by_a_description_stops_the_export_before_it_begins(export, tmp_path):
    (tmp_path / "web01.notes.txt").write_text("mine")

    with pytest.raises(Exception, match="exists already"):
        export("--to", "libvirt")

    assert [path.name for path in tmp_path.glob("web01*")] == ["web01.notes.txt"]
    assert (tmp_path / "web01.notes.txt").read_text() == "mine"
