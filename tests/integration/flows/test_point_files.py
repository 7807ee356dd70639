"""``vmkeep point files``: files come out of restore points as the guest had them. The disks are of real guests."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.command_line import run_here
from tests.guest_disks import FOLDER
from vmkeep.clock import now
from vmkeep.flows.point_files import open_point_files
from vmkeep.repository import Kind, create_repository, open_repository

VOLUMES = {
    ("lvm", "vgdata/lv_ext4"): "i-lv_ext4", ("lvm", "vgdata/lv_xfs"): "i-lv_xfs",
    ("lvm", "vgdata/lv_stripe"): "i-lv_stripe", ("lvm", "vgdata/lv_extra"): "i-lv_extra",
    ("multi", "disk0p1"): "x-fat", ("multi", "disk0p2"): "x-ntfs", ("multi", "disk0p3"): "x-btrfs",
    ("multi", "disk0p4"): "x-xfs", ("plain", "disk0"): "vi-whole", ("plain", "disk1p1"): "vi-part1",
}  # fmt: skip
"""VM and volume → the list of its files."""
LARGE = random.Random(13).randbytes(3 << 20)


@pytest.fixture(scope="module")
def guest_points(tmp_path_factory, guest_disks):
    """A repository with a point of each guest, and two points of a guest whose files have changed between them."""
    folder = tmp_path_factory.mktemp("files")
    repository = folder / "repo"
    create_repository(str(repository))
    here = SimpleNamespace(folder=folder, repository=str(repository))

    def imported(name, *images):
        done = command(here, "image", "import", *map(str, images), "--name", name)
        return re.search(r"^image-\S+(?=:)", done.stdout, re.MULTILINE)[0]

    here.lvm = imported("lvm", guest_disks.path("ia"), guest_disks.path("ib"))
    here.multi = imported("multi", guest_disks.path("x"))
    here.plain = imported("plain", guest_disks.path("vi"), guest_disks.path("vip"))
    here.before, here.after = (imported("changing", image) for image in _changing(folder))
    return here


def _changing(folder: Path):
    """Make an ext4 disk, and the same after some of its files have changed."""
    tree = folder / "tree"
    (tree / "etc").mkdir(parents=True)
    for name in ("same", "grown", "touched", "swapped", "went", "mode", "old name"):
        (tree / "etc" / name).write_text(f"content of {name}\n")
    (tree / "etc" / "link").symlink_to("same")
    (tree / "etc" / "large").write_bytes(LARGE)
    with (tree / "etc" / "caf\udce9\n\x1b[2J").open("w") as odd:
        odd.write("odd")
    before, after = folder / "before.raw", folder / "after.raw"
    for image in (before, after):
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, image, "8M"], check=True)
        (tree / "etc" / "grown").write_text("content that has grown\n")
        os.utime(tree / "etc" / "grown", (1_700_000_000, 1_700_000_000))
        os.utime(tree / "etc" / "touched", (1_700_000_000, 1_700_000_000))
        status = (tree / "etc" / "swapped").stat()
        (tree / "etc" / "swapped").write_text("CONTENT of swapped\n")
        os.utime(tree / "etc" / "swapped", ns=(status.st_atime_ns, status.st_mtime_ns))
        (tree / "etc" / "went").unlink(missing_ok=True)
        (tree / "etc" / "mode").chmod(0o600)
        if (tree / "etc" / "old name").exists():
            (tree / "etc" / "old name").rename(tree / "etc" / "new name")
        (tree / "new folder").mkdir(exist_ok=True)
        (tree / "new folder" / "file").write_text("new")
    return before, after


def command(here, *arguments, code=0):
    done = run_here(*arguments, VMKEEP_REPOSITORY=here.repository, VMKEEP_CATALOG=f"sqlite:///{here.folder}/catalog.db")
    assert done.returncode == code, done.stderr
    return done


def files(here, *arguments, code=0):
    return command(here, "point", "files", *arguments, code=code)


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def sums(name):
    """The expected lists: path → SHA-256, path → target, and path → kind, mode, owner and size."""
    text = (FOLDER / "expected" / f"{name}.sums").read_text()
    digests = {path: sha for sha, path in re.findall(r"^([0-9a-f]{64})  \.(/.*)$", text, re.MULTILINE)}
    targets = dict(re.findall(r"^symlink \.(/.*) -> (.*)$", text, re.MULTILINE))
    facts = {
        path: tuple(rest) for *rest, path in re.findall(r"^(\w) (\d+) (\d+) (\d+) (\d+) \.(/.*)$", text, re.MULTILINE)
    }
    return digests, targets, facts


@pytest.mark.parametrize(("vm", "volume"), VOLUMES)
def test_every_file_of_every_volume_has_the_sha256_mode_owner_and_target_that_it_had(guest_points, vm, volume):
    listed = lines(files(guest_points, "ls", "-R", "--sha256", f"latest:{vm}", f"{volume}:/", "--json"))
    digests, targets, facts = sums(VOLUMES[vm, volume])
    by_path = {each["path"]: each for each in listed}

    assert {path: each["sha256"] for path, each in by_path.items() if each["sha256"]} == digests
    assert {path: each["target"] for path, each in by_path.items() if each["target"] is not None} == targets
    for path, (kind, mode, uid, gid, size) in facts.items():
        each = by_path[path]
        assert each["kind"][0] == {"d": "f", "l": "s"}.get(kind, kind)
        if each["mode"] is not None:  # FAT and NTFS have none
            assert (f"{each['mode']:o}", str(each["uid"]), str(each["gid"])) == (mode, uid, gid)
        if kind in "fl":
            assert str(each["size"]) == size
    assert [each["problem"] for each in listed if each["problem"]] == []


def test_volumes_are_listed_with_the_names_that_the_other_commands_take(guest_points):
    listed = json.loads(files(guest_points, "volumes", "latest:lvm", "--json").stdout)

    assert listed["point"] == guest_points.lvm
    assert [(each["name"], each["kind"]) for each in listed["volumes"] if each["has_files"]] == [
        ("vgdata/lv_ext4", "ext4"), ("vgdata/lv_xfs", "xfs"), ("vgdata/lv_stripe", "ext4"), ("vgdata/lv_extra", "ext2"),
    ]  # fmt: skip
    assert all(each["reason"] for each in listed["volumes"] if not each["has_files"])
    assert "vgdata/lv_stripe" in files(guest_points, "volumes", "latest:lvm").stdout


def test_a_volume_of_which_a_part_lies_on_a_skipped_disk_names_that_disk(guest_points, monkeypatch):
    with open_repository(guest_points.repository) as repository:
        point = repository.find_point(guest_points.lvm)
        first, second = point.numbered.values()
        skipping = replace(point, images=(first,), skipped=(second.disk,))
        monkeypatch.setattr(type(repository), "find_point", lambda *_: skipping)
        with open_point_files(repository, "latest:lvm", doing="reading files", tell=lambda _line: None) as opened:
            volumes = {each.name: each for each in opened.volumes}

    assert volumes["vgdata/lv_ext4"].has_files
    assert f"{second.disk.label}, which is not in the backup, has exactly its size" in volumes["vgdata/lv_stripe"].state


def tree_of(folder):
    """SHA-256 of each file below a folder, by its path from there."""
    return {
        f"/{path.relative_to(folder)}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def test_a_folder_comes_out_whole(guest_points, tmp_path):
    done = files(guest_points, "get", "latest:lvm", "vgdata/lv_xfs:/", str(tmp_path / "out"), "--json")
    digests, targets, _ = sums("i-lv_xfs")

    assert tree_of(tmp_path / "out") == digests
    assert {f"/{path.relative_to(tmp_path / 'out')}": str(path.readlink())
            for path in (tmp_path / "out").rglob("*") if path.is_symlink()} == targets  # fmt: skip
    assert (tmp_path / "out/home/user/hard.txt").stat().st_nlink == 2
    assert (tmp_path / "out/home/user/sparse.bin").stat().st_blocks * 512 < 200_000
    fetched = json.loads(done.stdout)
    assert fetched["files"] + fetched["hard_links"] == len(digests)
    assert (fetched["point"], fetched["failed"], fetched["failures"]) == (guest_points.lvm, 0, [])
    assert [each["example"] for each in fetched["left_out"]] == ["/etc/fifo", "/home/user/small"]


def test_a_tar_archive_of_a_striped_volume_is_unpacked_by_tar(guest_points, tmp_path):
    files(guest_points, "get", "latest:lvm", "vgdata/lv_stripe:/home", str(tmp_path / "home.tar"))
    digests, _, facts = sums("i-lv_stripe")

    subprocess.run(["tar", "-xpf", "home.tar"], cwd=tmp_path, check=True, capture_output=True)

    assert tree_of(tmp_path / "home") == {
        path.removeprefix("/home"): sha for path, sha in digests.items() if path.startswith("/home/")
    }
    with tarfile.open(tmp_path / "home.tar") as archive:
        small = archive.getmember("home/user/small")
    assert (f"{small.mode:o}", str(small.uid), str(small.gid)) == facts["/home/user/small"][1:4]


def test_one_file_comes_out_under_its_own_name_and_on_standard_output(guest_points, tmp_path):
    digests, _, _ = sums("x-ntfs")

    files(guest_points, "get", "latest:multi", "disk0p2:/home/user/big.bin", str(tmp_path))
    streamed = files(guest_points, "get", "latest:multi", "disk0p2:/etc/hostname", "-")

    assert hashlib.sha256((tmp_path / "big.bin").read_bytes()).hexdigest() == digests["/home/user/big.bin"]
    assert hashlib.sha256(streamed.stdout.encode()).hexdigest() == digests["/etc/hostname"]


def test_files_are_found_by_name_size_time_and_kind(guest_points):
    def found(*conditions):
        listed = lines(files(guest_points, "find", "latest:multi", *conditions, "--json"))
        return {(each["volume"], each["path"]) for each in listed}

    volumes = ("disk0p1", "disk0p2", "disk0p3", "disk0p4")
    assert found("--name", "BIG.*", "-i") == {(volume, "/home/user/big.bin") for volume in volumes}
    assert found("disk0p4:/", "--larger", "2900KiB") == {("disk0p4", "/home/user/big.bin")}
    assert found("disk0p4:/etc", "--kind", "symlink") == {("disk0p4", "/etc/link"), ("disk0p4", "/etc/longlink")}
    assert found("disk0p4:/", "--newer", "2999-01-01") == set()
    assert found("disk0p2:/compr", "--older", "2999-01-01", "--smaller", "1MiB") == {("disk0p2", "/compr/c.bin")}


def test_a_search_of_all_volumes_names_those_that_it_cannot_search(guest_points, monkeypatch):
    with open_repository(guest_points.repository) as repository:
        point = repository.find_point(guest_points.lvm)
    first, second = point.numbered.values()
    skipping = replace(point, images=(first,), skipped=(second.disk,))
    monkeypatch.setattr("vmkeep.repository.Repository.find_point", lambda *_: skipping)

    done = files(guest_points, "find", "latest:lvm", "--name", "hostname")

    assert "warning: vgdata/lv_stripe is not searched: a disk is not in the backup" in done.stderr
    assert "vgdata/lv_ext4:/etc/hostname" in done.stdout.splitlines()
    assert "not searched" not in files(guest_points, "find", "latest:lvm", "vgdata/lv_ext4:/", "--name", "x").stderr


def test_a_search_without_a_hit_says_what_it_searched(guest_points):
    done = files(guest_points, "find", "latest:multi", "--name", "no such file")

    assert done.stdout == ""
    assert "0 entries found in 4 volumes" in done.stderr


def test_a_comparison_tells_what_appeared_changed_and_went(guest_points):
    def compared(*options):
        done = files(guest_points, "diff", guest_points.before, guest_points.after, *options, "--json")
        return {(each["change"], each["path"]): each["what"] for each in lines(done)}

    by_facts = compared()

    assert by_facts == {
        ("changed", "/etc/grown"): ["size", "modified"],
        ("changed", "/etc/touched"): ["modified"],
        ("changed", "/etc/mode"): ["mode"],
        ("changed", "/etc/swapped"): ["content"],
        ("went", "/etc/went"): [],
        ("went", "/etc/old name"): [],
        ("appeared", "/etc/new name"): [],
        ("appeared", "/new folder"): [],
        ("appeared", "/new folder/file"): [],
    }
    assert compared("--sha256") == by_facts
    assert compared("disk0:/new folder") == {key: [] for key in by_facts if key[1].startswith("/new folder")}
    shown = files(guest_points, "diff", guest_points.before, guest_points.after)
    assert "~ disk0:/etc/grown  (size, modified)" in shown.stdout
    assert "4 appeared" not in shown.stderr
    assert "3 appeared, 4 changed, 2 went" in shown.stderr


def test_names_of_strangers_reach_no_terminal_as_they_are(guest_points):
    listed = files(guest_points, "ls", "latest:changing", "disk0:/etc")
    document = lines(files(guest_points, "ls", "latest:changing", "disk0:/etc", "--json"))

    assert "caf\\xe9\\n\\x1b[2J" in listed.stdout.splitlines()
    assert "\x1b" not in listed.stdout
    assert "/etc/caf\udce9\n\x1b[2J" in [each["path"] for each in document]


def test_all_about_one_file_is_shown(guest_points):
    shown = json.loads(
        files(guest_points, "stat", "latest:lvm", "vgdata/lv_ext4:/home/user/sparse.bin", "--json").stdout
    )

    assert (shown["size"], shown["kind"], shown["links"]) == (2_500_000, "file", 1)
    assert 0 < shown["bytes_of_data"] < 200_000
    assert (
        "symbolic link to '../home/user/text.txt'"
        in files(
            guest_points, "get", "latest:lvm", "vgdata/lv_ext4:/etc/link", str(guest_points.folder / "no"), code=13
        ).stderr
    )
    assert (
        "leads to    ../home/user/text.txt"
        in files(guest_points, "stat", "latest:lvm", "vgdata/lv_ext4:/etc/link").stdout
    )


@pytest.mark.parametrize(
    ("place", "code", "words"),
    [
        ("nowhere:/", 10, "has no volume 'nowhere'; those with files: vgdata/lv_ext4"),
        ("vgdata/lv_ext4:/nothing", 10, "vgdata/lv_ext4:/nothing is not in image-lvm/"),
        (
            "vgdata/lv_ext4:/etc/link/x",
            10,
            "/etc/link is a symbolic link to '../home/user/text.txt', which is not follo",
        ),
        ("vgdata/lv_ext4:/a/../../b", 2, "write the path without '..'"),
        ("disk0p1:relative", 2, "write VOLUME:/path"),
        ("disk0p1:/", 13, "part of LVM"),
    ],
)
def test_a_place_that_is_not_there_is_answered_with_what_is(guest_points, place, code, words):
    assert words in files(guest_points, "ls", "latest:lvm", place, code=code).stderr


@pytest.fixture
def copied(guest_points, tmp_path):
    """A copy of the repository, for tests that change it."""
    shutil.copytree(guest_points.repository, tmp_path / "repo")
    return SimpleNamespace(folder=tmp_path, repository=str(tmp_path / "repo"))


@pytest.fixture
def damaged(guest_points, copied):
    """A copy of the repository in which the stored block with the middle of one file has other bytes."""
    raw = (guest_points.folder / "after.raw").read_bytes()
    with open_repository(copied.repository) as repository:
        (image,) = repository.find_point(guest_points.after).images
        number = raw.index(LARGE[5 << 19 : (5 << 19) + 64]) // repository.block_size
        location = repository.open_blocks().locate(Kind.BLOCK, repository.open_map(image.root).lookup(number))
    (path,) = Path(copied.repository, "packs").rglob(location.pack.hex())
    data = bytearray(path.read_bytes())
    data[location.offset + location.length // 2] ^= 0xFF
    path.chmod(0o644)
    path.write_bytes(data)
    return copied


def test_a_damaged_block_is_an_error_that_names_the_file_and_the_point(guest_points, damaged, tmp_path):
    for out in ("large", "etc", "etc.tar"):
        source = "/etc/large" if out == "large" else "/etc"
        done = files(damaged, "get", guest_points.after, f"disk0:{source}", str(tmp_path / out), code=90)

        assert f"{guest_points.after}, disk0:/etc/large: restore point {guest_points.after}, " in done.stderr
    assert [each.name for each in tmp_path.iterdir() if each.name not in ("repo", "catalog.db")] == []


def test_who_keeps_going_past_damage_gets_all_else_the_names_and_an_exit_code(guest_points, damaged, tmp_path):
    arguments = ("get", guest_points.after, "disk0:/etc", str(tmp_path / "etc"), "--keep-going")
    done = files(damaged, *arguments, "--json", code=14)

    fetched = json.loads(done.stdout)
    assert [each["path"] for each in fetched["failures"]] == ["/etc/large"]
    assert "1 file of disk0:/etc could not be fetched" in done.stderr
    assert (tmp_path / "etc/grown").read_text() == "content that has grown\n"
    assert not (tmp_path / "etc/large").exists()

    listed = files(damaged, "ls", "--sha256", guest_points.after, "disk0:/etc", "--json", code=90)
    assert [each["path"] for each in lines(listed) if each["problem"]] == ["/etc/large"]

    compared = files(damaged, "diff", guest_points.before, guest_points.after, "--sha256", "--json", code=90)
    assert [each["path"] for each in lines(compared) if each["change"] == "unknown"] == ["/etc/large"]


def test_a_point_is_in_use_while_its_files_are_read(guest_points):
    with (
        open_repository(guest_points.repository) as repository,
        open_point_files(repository, guest_points.after, doing="reading files", tell=lambda _line: None),
    ):
        (use,) = repository.uses.of(guest_points.after, time=now())

        assert use.doing == "reading files"


def test_the_last_version_of_a_file_is_found_in_all_points_that_have_an_index(guest_points, copied):
    for point in (guest_points.before, guest_points.after, guest_points.lvm):
        made = json.loads(files(copied, "index", point, "--json").stdout)
        assert made["point"] == point
        assert [each["problem"] for each in made["volumes"] if each["problem"]] == []

    def found(*arguments):
        return json.loads(files(copied, "search", *arguments, "--json").stdout)

    grown, same = found("grown"), found("/etc/same")
    assert [(each["size"], each["points"], each["last"]) for each in grown["versions"]] == [
        (23, 1, guest_points.after), (17, 1, guest_points.before)
    ]  # fmt: skip
    assert [(each["points"], each["first"], each["last"]) for each in same["versions"]] == [
        (2, guest_points.before, guest_points.after)
    ]
    assert (grown["searched"], grown["without_index"]) == (3, [guest_points.multi, guest_points.plain])
    assert [each["vm"] for each in found("-i", "BIG.BIN", "-s", "name:lvm")["versions"]] == ["lvm"] * 3
    assert found("-i", "BIG.BIN", "-s", "name:changing")["versions"] == []
    shown = files(copied, "search", "grown")
    assert "2 points without an index not searched" in shown.stderr
    assert files(copied, "search", "x", "-s", "datastore:a", code=2)


def test_an_index_is_copied_with_its_point_and_deleted_with_it(guest_points, copied):
    create_repository(str(copied.folder / "second"))
    made = json.loads(files(copied, "index", guest_points.after, "--json").stdout)

    for _ in range(2):
        command(copied, "repo", "copy", guest_points.after, "--to", str(copied.folder / "second"))
        with open_repository(str(copied.folder / "second")) as second:
            assert second.file_lists.head(guest_points.after).entries == made["entries"] > 10
            assert len(list(second.blobs.list("files/"))) == 2

    command(copied, "point", "delete", guest_points.after, "--yes")
    with open_repository(copied.repository) as repository:
        assert list(repository.blobs.list("files/")) == []


def test_a_search_says_which_index_is_damaged_and_finds_the_rest(guest_points, copied):
    for point in (guest_points.before, guest_points.after):
        files(copied, "index", point)
    (part,) = [
        path
        for path in Path(copied.repository, "files").rglob("00000")
        if guest_points.before.split("/")[1] in str(path)
    ]
    part.chmod(0o644)
    part.write_bytes(b"garbage")

    found = json.loads(files(copied, "search", "grown", "--json").stdout)

    assert [each["last"] for each in found["versions"]] == [guest_points.after]
    assert [guest_points.before in each and "make the index anew" in each for each in found["problems"]] == [True]
