"""A guest that virt-v2v converts for KVM, on overlays: the images below stay what the backup holds."""

from __future__ import annotations

import json
import os
import subprocess
from xml.etree import ElementTree as ET

import pytest

from tests.command_line import run_here
from vmkeep.images import import_images
from vmkeep.repository import create_repository

MIB = 1 << 20
_CONVERTER = """#!/bin/sh
# Stands for virt-v2v-in-place: it takes minutes without KVM, and converts real guests only.
cp "$5" "$SEEN"
[ -z "$LIBGUESTFS_BACKEND" ] && exit 9
disks=$(sed -n "s/.*source file=.\\([^'\\"]*\\).*/\\1/p" "$5")
for disk in $disks; do qemu-io -f qcow2 -c "write -P 7 0 64k" "$disk" >/dev/null || exit 8; done
echo "[   0.0] Setting up the source"
[ -z "$FAILS" ] || { echo "virt-v2v-in-place: error: $FAILS" >&2; exit 1; }
echo "virt-v2v-in-place: This guest has virtio drivers installed."
"""


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A repository with a machine of two disks."""
    folder = tmp_path_factory.mktemp("sample")
    (folder / "0").write_bytes(b"x" * MIB)
    (folder / "1").write_bytes(b"y" * MIB)
    repository = create_repository(str(folder / "repo"))
    import_images(repository, [folder / "0", folder / "1"], name="web")
    return folder


@pytest.fixture
def export(sample, tmp_path, monkeypatch):
    """Export the machine with a program in the place of virt-v2v-in-place."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "virt-v2v-in-place").write_text(_CONVERTER)
    (programs / "virt-v2v-in-place").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("SEEN", str(tmp_path / "seen.xml"))
    (tmp_path / "out").mkdir()

    def run(*options, **environment):
        return run_here("point", "export", "latest:web", "--out", str(tmp_path / "out"), "--name", "web",
                        "-r", str(sample / "repo"), *options, **environment)  # fmt: skip

    return run


def equal(sample, out, number):
    command = ["qemu-img", "compare", str(sample / str(number)), str(out / f"web-disk{number}.qcow2"), "-f", "raw"]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout == "Images are identical.\n"


def test_a_converted_guest_lies_on_overlays_and_its_domain_names_them(sample, export, tmp_path):
    ended = export("--to", "libvirt", "--convert", "--json")

    assert ended.returncode == 0, ended.stderr
    out, told = tmp_path / "out", json.loads(ended.stdout)
    overlays = [file["name"] for file in told["converted"]]
    assert overlays == ["web-disk0.converted.qcow2", "web-disk1.converted.qcow2"]
    for number, overlay in enumerate(overlays):
        assert equal(sample, out, number)
        info = json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", str(out / overlay)]))
        assert (info["backing-filename"], info["backing-filename-format"]) == (f"web-disk{number}.qcow2", "qcow2")
        subprocess.run(["qemu-io", "-r", "-c", "read -P 7 0 64k", str(out / overlay)], check=True, capture_output=True)
        subprocess.run(["qemu-img", "check", "-q", str(out / overlay)], check=True)
    domain = ET.parse(out / "web.libvirt.xml")
    assert [each.get("file") for each in domain.findall("devices/disk/source")] == [
        str(out / each) for each in overlays
    ]
    targets = [(each.get("dev"), each.get("bus")) for each in domain.findall("devices/disk/target")]
    assert targets == [("vda", "virtio"), ("vdb", "virtio")]
    assert "move all of them together" in " ".join((out / "web.notes.txt").read_text().split())
    assert not list(out.glob(".*"))

    applied = run_here("point", "apply", "latest:web", str(out / "web.export.json"), "-r", str(sample / "repo"))
    assert applied.returncode == 12
    assert "converted on overlays" in applied.stderr

    again = export("--to", "libvirt", "--force")
    assert again.returncode == 0, again.stderr
    assert not list(out.glob("*.converted.qcow2"))


def test_a_guest_that_cannot_be_converted_costs_nothing_and_virt_v2vs_words_are_told(sample, export, tmp_path):
    ended = export("--to", "libvirt", "--convert", FAILS="no root device found in this operating system image.")

    assert ended.returncode == 39
    assert "the export is complete" in ended.stderr
    assert "no root device found in this operating system image." in ended.stderr
    out = tmp_path / "out"
    assert (out / "web.export.json").exists()
    assert all(equal(sample, out, number) for number in (0, 1))
    assert not [path.name for path in out.iterdir() if "convert" in path.name or path.name.startswith(".")]
    sources = [each.get("file") for each in ET.parse(out / "web.libvirt.xml").findall("devices/disk/source")]
    assert sources == [str(out / f"web-disk{number}.qcow2") for number in (0, 1)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "--to"),
        (("--format", "raw"), "--to libvirt"),
        (("--to", "proxmox"), "libvirt"),
        (("--to", "libvirt", "--drivers", "safe"), "--drivers"),
        (("--to", "libvirt", "--disk", "0"), "--disk"),
    ],
)
def test_a_conversion_that_cannot_be_is_refused_before_anything_is_written(export, tmp_path, options, words):
    ended = export("--convert", *options)

    assert ended.returncode == 2
    assert words in ended.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_a_missing_converter_is_named_with_its_package_before_anything_is_written(export, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")

    ended = export("--to", "libvirt", "--convert")

    assert ended.returncode == 13
    assert "install virt-v2v" in ended.stderr
    assert list((tmp_path / "out").iterdir()) == []
