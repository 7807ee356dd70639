"""All layouts of a kind are read alike: small and large blocks, old and new features, whatever their tools make."""

import hashlib
import json
import os
import random
import re
import socket
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from tests.guest_disks import ImageDisk
from tests.guest_files import FOLDER, KINDS, MangledDisk, assert_same_tree, image, read_sums, sums_of, walk
from tests.patience import HANG
from vmkeep.errors import CorruptError
from vmkeep.guest.filesystems import open_file_system
from vmkeep.model.extents import total

LONG = "x/" * 150 + "y"
ODD = ["ext4-odd", "xfs-odd", "btrfs-odd"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Make a folder of odd things."""
    root = tmp_path_factory.mktemp("tree")
    noise = random.Random(7)
    (root / "many").mkdir()
    (root / "d" / "e").mkdir(parents=True)
    for number in range(260):
        (root / "many" / f"a-file-with-a-long-name-{number:04}").write_bytes(b"%d" % number if number % 9 == 0 else b"")
    (root / "empty").write_bytes(b"")
    (root / "inline").write_bytes(bytes(range(100)))
    (root / "mid").write_bytes(noise.randbytes(70_001))
    (root / os.fsdecode(b"latin-\xe9")).write_bytes(b"l")
    (root / "žluť 😀").write_bytes(b"u")
    (root / "Žluť").write_bytes(b"two bytes for a letter")
    with (root / "holes").open("wb") as file:
        for number in range(80):
            file.seek(number * 65_536)
            file.write(bytes([number + 1]) * 4096)
        file.seek(8_000_000)
        file.write(b"the end, not on a block's border")
    (root / "link").symlink_to("d/e")
    (root / "longlink").symlink_to(LONG)
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as plug:
        plug.bind(str(root / "s"))
    (root / "d" / "hard").hardlink_to(root / "mid")
    os.setxattr(root / "mid", "user.large", noise.randbytes(700))
    os.setxattr(root / "inline", "user.small", b"v\0x")
    (root / "mid").chmod(0o4751)
    if os.geteuid() == 0:
        os.chown(root / "empty", 70_000, 80_001)
    return root


def made(path, size, *command):
    with path.open("wb") as file:
        file.truncate(size)
    subprocess.run([*command], check=True, capture_output=True, timeout=HANG)
    return ImageDisk(path)


@pytest.mark.parametrize(
    ("block", "features", "more"),
    [
        (1024, "none", ["-r", "0"]),
        (1024, "^resize_inode,has_journal", []),
        (1024, "extent,64bit,metadata_csum,meta_bg,^resize_inode,metadata_csum_seed", ["-I", "256"]),
        (4096, "extent,flex_bg,sparse_super2,large_dir,bigalloc,quota", ["-I", "512", "-C", "16384"]),
        (2048, "extent,64bit,metadata_csum,has_journal,casefold,encrypt,ea_inode", ["-E", "encoding=utf8"]),
        (65536, "extent,filetype,dir_index", ["-F"]),
    ],
    ids=["rev0", "ext3", "meta_bg", "bigalloc", "casefold", "64k"],
)
def test_what_mke2fs_packed_comes_out(tmp_path, tree, block, features, more):
    path = tmp_path / "disk"
    start = ["mke2fs", "-q", "-F", "-t", "ext2", "-b", str(block), "-N", "1024", "-O", features, *more]

    assert_same_tree(made(path, 64 << 20, *start, "-d", tree, path), "ext4", tree, attributes=features != "none")


def proto_of(folder, indent=""):
    """Yield the lines by which mkfs.xfs takes a folder. It knows no blanks in names, and no sockets."""
    for path in sorted(folder.iterdir()):
        status = path.lstat()
        mode = f"{'u' if status.st_mode & 0o4000 else '-'}-{status.st_mode & 0o777:03o} {status.st_uid} {status.st_gid}"
        if path.is_symlink():
            yield f"{indent}{path.name} l{mode} {path.readlink()}"
        elif path.is_dir():
            yield f"{indent}{path.name} d{mode}"
            yield from proto_of(path, indent + " ")
            yield f"{indent}$"
        elif path.is_fifo():
            yield f"{indent}{path.name} p{mode}"
        elif path.is_file():
            yield f"{indent}{path.name} -{mode} {path}"


@pytest.fixture(scope="module")
def proto(tmp_path_factory, tree):
    taken = tmp_path_factory.mktemp("proto") / "proto"
    lines = ["/boot", "4872 110", "d--755 0 0", *(line for line in proto_of(tree) if "😀" not in line), "$", ""]
    taken.write_bytes(os.fsencode("\n".join(lines)))
    return taken


@pytest.mark.parametrize(
    "options",
    [
        ["-m", "crc=0", "-n", "ftype=0"],
        ["-b", "size=1024", "-n", "size=16384"],
        ["-b", "size=4096", "-i", "size=2048,sparse=1,nrext64=1", "-m", "reflink=1,rmapbt=1,bigtime=1"],
        ["-b", "size=16384", "-d", "agcount=2"],
    ],
    ids=["v4", "1k", "new", "16k"],
)
def test_what_mkfs_xfs_packed_comes_out(tmp_path, tree, proto, options):
    path = tmp_path / "disk"
    disk = made(path, 512 << 20, "mkfs.xfs", "-q", "-p", proto, *options, path)

    with open_file_system(disk, "xfs", what="disk0p1") as files:
        assert files.warnings == ()
        found = sums_of(files)
        entries = {entry.path: entry for entry in walk(files)}
    expected = {
        f"/{path.relative_to(tree)}": path for path in tree.rglob("*") if path.is_file() and "😀" not in path.name
    }
    assert found == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in expected.items()}
    assert entries["/longlink"].target == LONG
    assert entries["/mid"].mode == 0o4751


@pytest.mark.parametrize(
    "options",
    [["--csum", "crc32c"], ["--csum", "xxhash", "-n", "65536", "-d", "dup"], ["--csum", "sha256", "-n", "4096", "-M"]],
    ids=["crc32c", "xxhash", "sha256"],
)
def test_what_mkfs_btrfs_packed_comes_out(tmp_path, tree, options):
    path = tmp_path / "disk"

    disk = made(path, 256 << 20, "mkfs.btrfs", "-q", *options, "-r", tree, path)

    assert_same_tree(disk, "btrfs", tree)
    content = (tree / "mid").read_bytes()
    places = [found.start() + 1000 for found in re.finditer(re.escape(content[:4096]), path.read_bytes())]
    for damaged in (places[:1], places):
        with open_file_system(MangledDisk(disk, [(place, b"wrong") for place in damaged]), "btrfs", what="d") as files:
            if len(damaged) < len(places):
                assert files.open("/mid").readall() == content, "the other copy is right"
                continue
            with pytest.raises(CorruptError, match=r"/mid.*wrong checksum"):
                files.open("/mid").readall()
            assert files.open("/inline").readall() == (tree / "inline").read_bytes()


@pytest.mark.parametrize(("bits", "size"), [(12, 6 << 20), (16, 40 << 20), (32, 70 << 20)])
def test_what_mtools_copied_to_fat_comes_out(tmp_path, tree, bits, size):
    path = tmp_path / "disk"
    made(path, size, "mkfs.vfat", "-F", str(bits), "-s", "1" if bits == 32 else "4", path)
    names = ["many", "inline", "empty", "Žluť", "mid"]
    copy = ["mcopy", "-s", "-i", path, *(tree / name for name in names), "::"]
    subprocess.run(copy, check=True, capture_output=True, timeout=HANG, env={**os.environ, "LC_ALL": "C.UTF-8"})

    with open_file_system(ImageDisk(path), "vfat", what="disk0p1") as files:
        found = sums_of(files)

    expected = [tree / name for name in names[1:]] + list((tree / "many").iterdir())
    assert found == {f"/{each.relative_to(tree)}": hashlib.sha256(each.read_bytes()).hexdigest() for each in expected}


def test_links_of_xfs_come_out_however_many_blocks_they_take(folder):
    with open_file_system(ImageDisk(image("xfs-links", folder)), "xfs", what="disk0p1") as files:
        found = {entry.path: entry.target for entry in walk(files)}

    assert found == {
        "/one-block": "a/" * 484 + "b",  # its header takes the other 56 bytes of the block
        "/two-blocks": "x/" * 490 + "y",
        "/longest": "z" * 1023,
        "/short": "short",
    }


@pytest.mark.parametrize("name", ODD)
def test_what_the_kernel_wrote_comes_out_with_all_that_it_told(folder, name):
    told = json.loads((FOLDER / f"{name}.json").read_text())
    with open_file_system(ImageDisk(image(name, folder)), KINDS[name], what="disk0p1") as files:
        assert files.warnings == ()
        assert sums_of(files) == read_sums(FOLDER / f"{name}.sums")
        for path, facts in told.items():
            entry = files.entry(path)
            seen = (entry.mode, entry.uid, entry.gid, entry.target)
            assert seen == tuple(facts[key] for key in ("mode", "uid", "gid", "target")), path
            if entry.modified is None:
                assert path == "/snap/inner"  # a snapshot has an empty folder in the place of a subvolume
                continue
            assert entry.modified == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=facts["mtime_us"]), path
            assert entry.changed == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=facts["ctime_us"]), path
            if entry.kind.value in ("file", "symlink"):
                assert (entry.size, entry.links) == (facts["size"], facts["links"]), path
            found = {key: hashlib.sha256(value).hexdigest() for key, value in files.attributes(path).items()}
            # XFS shows its own access control lists a second time, under a name of its own.
            assert found == {key: of for key, of in facts["xattrs"].items() if "SGI_ACL" not in key}, path
        assert files.entry("/small").identity == files.entry("/d/hard").identity
        assert total(list(files.data_extents("/comb"))) == 700 * 4096
        assert total(list(files.data_extents("/prealloc"))) < 100_000
