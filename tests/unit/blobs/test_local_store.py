"""The local folder: what a power cut or a full disk leaves."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import pytest

from vmkeep.blobs.local import LocalStore
from vmkeep.blobs.locations import local_folder
from vmkeep.blobs.opening import create_store, open_store
from vmkeep.blobs.wrappers.settling import SettlingStore
from vmkeep.errors import (
    BlobNotFoundError,
    CorruptError,
    PermissionDeniedError,
    Recovery,
    RepositoryError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
    UsageError,
)
from vmkeep.testing import FaultyStore, MemoryStore


class PowerCut(BaseException):
    """The process dies here: not an ``Exception``, so no handler may tidy up after it."""


class Mains:
    """Lets some system calls pass, then cuts the power: that call and all later ones do not happen."""

    NAMES = ("open", "write", "fsync", "link", "replace", "unlink", "mkdir")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
        self.left = after
        for name in self.NAMES:
            monkeypatch.setattr(os, name, self._wired(getattr(os, name)))
        monkeypatch.setattr(Path, "unlink", self._wired(Path.unlink))
        monkeypatch.setattr(Path, "mkdir", self._wired(Path.mkdir))

    def _wired(self, call):
        def wired(*args, **kwargs):
            if self.left <= 0:
                raise PowerCut
            self.left -= 1
            return call(*args, **kwargs)

        return wired


@pytest.mark.parametrize("verb", ["put", "replace"])
def test_a_power_cut_between_any_two_system_calls_leaves_a_blob_whole_or_invisible(tmp_path, verb):
    cuts = 0
    for after in range(100):
        root = tmp_path / str(after)
        root.mkdir()
        store = LocalStore(root)
        with pytest.MonkeyPatch.context() as patch:
            Mains(patch, after)
            try:
                getattr(store, verb)("packs/ab/x", b"content" * 1000)
                finished = True
            except PowerCut:
                finished = False
        survivor = LocalStore(root)
        assert [info.size for info in survivor.list("")] in ([], [7000])
        getattr(survivor, verb)("packs/ab/x", b"content" * 1000)
        assert survivor.get("packs/ab/x") == b"content" * 1000
        if finished:
            break
        cuts += 1
    assert cuts > 8


def test_without_hard_links_a_rename_does_it(tmp_path, monkeypatch):
    def refuse(*_args):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    store = LocalStore(tmp_path)

    assert store.put("a/b", b"x") is True
    assert store.put("a/b", b"x") is False
    assert list((tmp_path / ".tmp").iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG], ids=["full", "quota", "too large a file"])
def test_a_full_disk_is_told_with_folder_and_bytes_and_leaves_nothing(tmp_path, monkeypatch, code):
    def refuse(*_args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "write", refuse)
    store = LocalStore(tmp_path)

    with pytest.raises(StoreFullError, match=rf"{tmp_path}.*4321 bytes"):
        store.put("packs/ab/x", bytes(4321))

    assert list(store.list("")) == []
    assert list((tmp_path / ".tmp").iterdir()) == []


def test_a_folder_that_another_process_removes_is_made_again(tmp_path):
    store, other = LocalStore(tmp_path), LocalStore(tmp_path)
    store.put("runs/x/one", b"1")
    other.delete("runs/x/one")

    store.put("runs/x/two", b"2")

    assert store.get("runs/x/two") == b"2"


def test_a_store_that_is_gone_is_not_created_again(tmp_path):
    root = tmp_path / "mount"
    root.mkdir()
    store = LocalStore(root)
    root.rmdir()

    with pytest.raises(StoreError, match="the folder is gone"):
        store.put("a/b", b"")
    assert not root.exists()


@pytest.mark.parametrize("landed", [True, False])
def test_a_lost_reply_is_settled_by_reading_back(landed):
    disk = MemoryStore()
    faulty = FaultyStore(disk)
    faulty.fail("put", with_=StoreError("connection reset"), reply_lost=landed)
    store = SettlingStore(faulty)

    if landed:
        assert store.put("points/a", b"write id 1") is True
    else:
        with pytest.raises(StoreError, match="connection reset"):
            store.put("points/a", b"write id 1")


def test_a_lost_reply_is_an_error_if_other_bytes_are_there():
    disk = MemoryStore()
    disk.put("points/a", b"write id 2")
    faulty = FaultyStore(disk)
    faulty.fail("put", with_=StoreError("connection reset"))

    with pytest.raises(StoreError, match="connection reset"):
        SettlingStore(faulty).put("points/a", b"write id 1")


@pytest.mark.parametrize(
    ("location", "folder"),
    [
        ("/a/b", "/a/b"),
        ("file:///a/b%20c", "/a/b c"),
        ("file://localhost/a", "/a"),
        ("file:/a", "/a"),
        ("FILE:///a", "/a"),
        ("file:///d/#x?y", "/d/#x?y"),
        ("file:///d/x?y#z", "/d/x?y#z"),
        ("file:///d/;x", "/d/;x"),
        ("file:///d/%23x%3Fy", "/d/#x?y"),
        ("file:///d/100%", "/d/100%"),
        ("file:///d/a+b", "/d/a+b"),
        ("file:///d/%FF", "/d/\udcff"),
        ("file:///d/%C3%BC", "/d/ü"),
        ("file:///d/[x]", "/d/[x]"),
        ("/d/#x?y", "/d/#x?y"),
        ("/d/b%20c", "/d/b%20c"),
        ("/mnt/s3://x", "/mnt/s3://x"),
        ("/d/new\nline", "/d/new\nline"),
    ],
)
def test_a_location_is_a_path_or_a_file_url(location, folder):
    assert local_folder(location) == Path(folder)


@pytest.mark.parametrize(
    "location",
    [
        "", "s3://bucket/x", "file://host/x", "sftp://host/x", "file:x", "file://", "file:///a%00b", "/a\0b",
        "file://[x", "~nobody-of-that-name/x",
    ],
)  # fmt: skip
def test_other_locations_are_refused(location):
    with pytest.raises(UsageError):
        local_folder(location)


def test_opening_what_is_not_there_names_it_and_the_remedy(tmp_path):
    with pytest.raises(RepositoryError, match=r"nowhere: no such folder; .*repo init"):
        open_store(str(tmp_path / "nowhere"))


def test_only_the_last_folder_is_created(tmp_path):
    with pytest.raises(RepositoryError, match="missing: no such folder"):
        create_store(str(tmp_path / "missing" / "repo"))
    create_store(str(tmp_path / "repo"))
    assert (tmp_path / "repo").is_dir()


def test_faults_meet_the_calls_they_were_asked_for():
    store = FaultyStore(MemoryStore())
    store.fail("write", after=1, with_=StoreError("no"), prefix="a/")
    store.put("b/1", b"")
    store.put("a/1", b"")
    with pytest.raises(StoreError):
        store.delete("a/1")
    store.delete("a/1")
    with pytest.raises(BlobNotFoundError):
        store.get("a/1")


@pytest.mark.parametrize("verb", ["put", "replace"])
def test_a_folder_that_goes_while_folders_below_it_are_made_is_made_again(tmp_path, monkeypatch, verb):
    store, other = LocalStore(tmp_path), LocalStore(tmp_path)
    store.put("runs/x/one", b"1")
    mkdir = Path.mkdir

    def late(path, *args, **kwargs):
        if path.name == "leases" and list(store.list("runs/")):
            other.delete("runs/x/one")  # which takes its folder with it
        mkdir(path, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", late)

    getattr(store, verb)("runs/x/leases/two", b"2")

    assert store.get("runs/x/leases/two") == b"2"


def test_a_store_that_is_gone_is_not_taken_for_an_empty_one(tmp_path):
    root = tmp_path / "mount"
    root.mkdir()
    store = LocalStore(root)
    assert list(store.list("points/")) == []
    root.rmdir()

    with pytest.raises(StoreError, match="the folder is gone"):
        list(store.list("points/"))


@pytest.mark.parametrize("at", [None, 0, 1 << 20, (2 << 20) - 1])
def test_a_lost_reply_is_settled_by_size_beginning_and_end(at):
    """A blob that somebody else stored under the name is never taken for ours."""
    ours = bytes(range(256)) * (2 << 12)
    theirs = bytearray(ours)
    if at is None:
        theirs += b"more"
    else:
        theirs[at] ^= 1
    disk = MemoryStore()
    disk.put("points/a", theirs)
    faulty = FaultyStore(disk)
    faulty.fail("put", with_=StoreError("connection reset"))

    with pytest.raises(StoreError, match="connection reset"):
        SettlingStore(faulty).put("points/a", ours)


def test_what_the_system_writes_in_parts_is_whole(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:1000]))
    content = os.urandom(4321)

    LocalStore(tmp_path).put("packs/ab/x", content)

    assert LocalStore(tmp_path).get("packs/ab/x") == content


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM])
@pytest.mark.parametrize("verb", ["put", "replace", "check_writable"])
def test_a_denied_write_stops_and_tells_who_may_not_write_where(tmp_path, monkeypatch, code, verb):
    def refuse(path, *_args):
        raise OSError(code, os.strerror(code), str(path))

    store = LocalStore(tmp_path)
    monkeypatch.setattr(os, "open", refuse)

    with pytest.raises(PermissionDeniedError, match=rf"{tmp_path}.*number {os.geteuid()}.*below {tmp_path}") as raised:
        getattr(store, verb)(*(["a/b", b"x"] if verb != "check_writable" else []))
    assert raised.value.recovery is Recovery.STOP


@pytest.mark.parametrize("call", [lambda s: s.get("a/b"), lambda s: s.get_range("a/b", 0, 1), lambda s: s.size("a/b")])
def test_a_denied_read_stops(tmp_path, monkeypatch, call):
    def refuse(path, *_args, **_named):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    LocalStore(tmp_path).put("a/b", b"x")
    for name in ("open", "stat"):
        monkeypatch.setattr(os, name, refuse)
    monkeypatch.setattr("io.open", refuse)

    with pytest.raises(PermissionDeniedError, match="Permission denied"):
        call(LocalStore(tmp_path))


@pytest.fixture
def read_only(tmp_path):
    """A folder on a file system that is mounted read-only."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    LocalStore(folder).put("a/b", b"content")
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_read_only_file_system_is_read_and_a_write_stops(read_only):
    store = open_store(str(read_only))

    assert store.get("a/b") == b"content"
    for write in (
        lambda: store.put("a/c", b"content"),
        lambda: store.put("a/b", b"content"),
        lambda: store.delete("a/b"),
    ):
        with pytest.raises(
            StoreReadOnlyError, match=f"below {read_only}, because .* mounted read-only: mount"
        ) as raised:
            write()
        assert raised.value.recovery is Recovery.STOP
        assert "let the user" not in str(raised.value), "no right helps"


def test_temporary_files_of_dead_writers_go_once_they_are_old_and_nothing_else_does(tmp_path):
    store = LocalStore(tmp_path)
    store.put("a/b", b"content")
    now = time.time()
    names = {"0" * 32: 8, "1" * 32: 6, "f" * 32: 8, "not-one-of-ours": 8}
    for name, days in names.items():
        (tmp_path / ".tmp" / name).write_bytes(b"half of a pack")
        os.utime(tmp_path / ".tmp" / name, (now - days * 86400,) * 2)

    assert store.remove_leftovers(left_for=timedelta(days=7)) == 2

    assert {path.name for path in (tmp_path / ".tmp").iterdir()} == {"1" * 32, "not-one-of-ours"}
    assert store.get("a/b") == b"content"


@pytest.mark.parametrize("verb", ["put", "replace"])
def test_a_writer_whose_temporary_file_is_taken_for_a_dead_ones_writes_it_again(tmp_path, monkeypatch, verb):
    """It may have been stopped for longer than any margin."""
    cleaned = []
    write = os.write

    def stopped(file, data):
        if not cleaned:
            cleaned.append(LocalStore(tmp_path).remove_leftovers(left_for=timedelta(0)))
        return write(file, data)

    monkeypatch.setattr(os, "write", stopped)

    getattr(LocalStore(tmp_path), verb)("packs/ab/x", b"content")

    assert cleaned == [1]
    assert LocalStore(tmp_path).get("packs/ab/x") == b"content"
    assert list((tmp_path / ".tmp").iterdir()) == []


@pytest.mark.parametrize("verb", ["put", "replace"])
def test_a_blob_deleted_at_once_with_its_folder_was_created_all_the_same(tmp_path, monkeypatch, verb):
    """Maintenance took its writer for dead, and the writer only stood still."""
    name = {"put": "link", "replace": "replace"}[verb]
    call = getattr(os, name)

    def deleted_at_once(*args):
        call(*args)
        LocalStore(tmp_path).delete("runs/1/tries/2/begun")

    monkeypatch.setattr(os, name, deleted_at_once)

    getattr(LocalStore(tmp_path), verb)("runs/1/tries/2/begun", b"content")

    assert not (tmp_path / "runs" / "1").exists()


def test_a_blob_in_a_repository_that_vanishes_is_not_taken_for_stored(tmp_path, monkeypatch):
    root = tmp_path / "repository"
    root.mkdir()
    link = os.link

    def unplugged(*args):
        link(*args)
        root.rename(tmp_path / "elsewhere")

    monkeypatch.setattr(os, "link", unplugged)

    with pytest.raises(StoreError, match="the folder is gone"):
        LocalStore(root).put("runs/1/tries/2/begun", b"content")


CALLS = {
    "get": lambda store: store.get("a/b"),
    "get_range": lambda store: store.get_range("a/b", 0, 1),
    "get_into": lambda store: store.get_into("a/b", 0, memoryview(bytearray(1))),
    "size": lambda store: store.size("a/b"),
    "put": lambda store: store.put("a/b", b"x"),
}
STRANGERS = {
    "pipe": os.mkfifo,
    "socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
    "folder": Path.mkdir,
    "link to itself": lambda path: path.symlink_to(path.name),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("stranger", STRANGERS)
def test_what_is_no_file_in_a_blobs_place_is_damage_and_nothing_waits_for_it(tmp_path, stranger, call):
    (tmp_path / "a").mkdir()
    STRANGERS[stranger](tmp_path / "a" / "b")

    with pytest.raises(CorruptError, match=rf"{tmp_path}/a/b: .*put the original back"):
        CALLS[call](LocalStore(tmp_path))


@pytest.mark.parametrize("link", ["packs", "packs/ab", "packs/ab/c"])
def test_nothing_is_taken_for_deleted_behind_a_link_to_a_disk_that_is_not_mounted(tmp_path, link):
    """A merge would take all packs out of the index, and a copy would find nothing to copy."""
    root, disk = tmp_path / "root", tmp_path / "disk"
    (root / link).parent.mkdir(parents=True)
    store = LocalStore(root)
    (root / link).symlink_to(disk)
    if link != "packs/ab/c":
        disk.mkdir()
    looks = [lambda: list(store.list("")), lambda: list(store.list("packs/")), lambda: store.size("packs/ab/c")]
    if link != "packs/ab/c":
        store.put("packs/ab/c", b"1")
        disk.rename(tmp_path / "not mounted")

    for look in (*looks, lambda: store.get("packs/ab/c")):
        with pytest.raises(StoreError, match=f"{root / link}: is a link to {disk}, where nothing is: mount"):
            look()
    with pytest.raises(BlobNotFoundError):
        store.get("index/ab")


def test_a_link_that_leads_back_is_left_out_of_listings_and_other_links_are_followed(tmp_path):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    for folder in (root / "points" / "a", elsewhere):
        folder.mkdir(parents=True)
    store = LocalStore(root)
    store.put("points/a/b", b"x")
    (root / "packs").symlink_to(elsewhere)
    store.put("packs/ab/c", b"y")
    (root / "points" / "loop").symlink_to(".")
    (root / "points" / "another").symlink_to(".")
    (root / "points" / "a" / "up").symlink_to(tmp_path)
    (elsewhere / "ab" / "far").symlink_to(elsewhere)

    assert [info.key for info in store.list("")] == ["packs/ab/c", "points/a/b"]
    assert [info.key for info in store.list("points/")] == ["points/a/b"]
