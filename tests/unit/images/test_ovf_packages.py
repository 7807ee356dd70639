"""A point as an OVF package or an OVA: its files are what the manifest says, and its disks what the point holds."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import tarfile
from xml.etree import ElementTree as ET

import pytest

from tests.command_line import run_here
from vmkeep.images import import_images
from vmkeep.repository import create_repository

MIB = 1 << 20
OVF = "{http://schemas.dmtf.org/ovf/envelope/1}"


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A repository with a point of three disks: some data, data behind a hole, and one sector."""
    folder = tmp_path_factory.mktemp("sample")
    (folder / "0").write_bytes(random.Random(1).randbytes(MIB) + bytes(4 * MIB) + b"end".ljust(512, b"\0"))
    with (folder / "1").open("wb") as disk:
        disk.seek(3 * MIB - 512)
        disk.write(random.Random(2).randbytes(1536))
        disk.truncate(70 * MIB + 512)
    (folder / "2").write_bytes(b"sector".ljust(512, b"\0"))
    repository = create_repository(str(folder / "repo"))
    import_images(repository, [folder / name for name in "012"], name="web 1/ü")
    return folder


def export(sample, out, form, *options):
    location = str(sample / "repo")
    return run_here("point", "export", "latest:web 1/ü", "--format", form, "--out", str(out), "--repository", location,
                    *options)  # fmt: skip


def unpacked(out, form):
    """The files of a package, in a folder, in the order of the tar."""
    if form == "ovf":
        return out, sorted(path.name for path in out.iterdir())
    (packed,) = out.glob("*.ova")
    inside = out / "inside"
    with tarfile.open(packed) as tar:
        names = tar.getnames()
    inside.mkdir()
    subprocess.run(["tar", "-xf", packed, "--no-same-owner", "-C", inside], check=True)
    return inside, names


@pytest.mark.parametrize("form", ["ovf", "ova"])
def test_a_package_holds_what_its_manifest_says_and_what_the_point_holds(sample, tmp_path, form):
    ended = export(sample, tmp_path, form)

    assert ended.returncode == 0, ended.stderr
    (notes,) = tmp_path.glob("*.notes.txt")
    assert "Parts that do not come along:" in notes.read_text()
    assert f"left behind: read {notes.name}" in ended.stdout
    assert notes.name in [file["name"] for file in json.loads(next(tmp_path.glob("*.json")).read_text())["beside"]]
    folder, names = unpacked(tmp_path, form)
    if form == "ova":
        assert [name.rpartition(".")[2] for name in names] == ["ovf", "mf", "vmdk", "vmdk", "vmdk"]
        assert all(name.isascii() for name in names)
    (listing,) = folder.glob("*.mf")
    lines = dict(line.removeprefix("SHA256(").split(")= ") for line in listing.read_text().splitlines())
    assert lines == {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in lines}
    (descriptor,) = folder.glob("*.ovf")
    root = ET.parse(descriptor).getroot()
    files = {each.get(f"{OVF}id"): each for each in root.iter(f"{OVF}File")}
    assert {*lines} == {descriptor.name, *(path.name for path in folder.glob("*.vmdk"))}
    for number, disk in enumerate(root.iter(f"{OVF}Disk")):
        file = files[disk.get(f"{OVF}fileRef")]
        (image,) = folder.glob(f"*disk{number}.vmdk")
        assert int(file.get(f"{OVF}size")) == image.stat().st_size
        assert int(disk.get(f"{OVF}capacity")) == (sample / str(number)).stat().st_size
        compare = ["qemu-img", "compare", "-f", "raw", "-F", "vmdk", str(sample / str(number)), str(image)]
        assert subprocess.run(compare, check=True, capture_output=True, text=True).stdout == "Images are identical.\n"


def test_a_damaged_ova_is_noticed_before_it_gets_its_name(sample, tmp_path, monkeypatch):
    from vmkeep.errors import VerificationError
    from vmkeep.images import localdrafts

    complete = localdrafts.LocalDraft.complete

    def damage(draft):
        (packed,) = draft.folder.glob("*.ova")
        with packed.open("r+b") as file:
            file.seek(MIB // 2)
            file.write(b"damage")
        complete(draft)

    monkeypatch.setattr(localdrafts.LocalDraft, "complete", damage)
    ended = export(sample, tmp_path, "ova", "--verify", "all")

    assert ended.returncode == VerificationError.exit_code, ended.stderr
    assert list(tmp_path.glob("*")) == []
