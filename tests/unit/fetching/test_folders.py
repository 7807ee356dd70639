"""A folder of a guest becomes a folder of this machine: whole or not at all, and never outside of it."""

from __future__ import annotations

import os
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.fetching.fetched import get
from tests.unit.fetching.memoryfiles import THEN, MemoryFiles
from vmkeep.errors import ConflictError, CorruptError, NotFoundError, VerificationError
from vmkeep.fetching import folderwriting
from vmkeep.fetching.content import PIECE
from vmkeep.model.extents import Extent
from vmkeep.model.guestfiles import FileKind


def test_files_come_out_with_content_mode_time_and_owner(files, tmp_path):
    files.folder("/a", mode=0o750)
    files.file("/a/one", b"first" * 1000, mode=0o640)
    files.file("/a/empty", uid=os.geteuid(), gid=os.getegid())

    report = get(files, "/", tmp_path / "out")

    one = (tmp_path / "out/a/one").stat()
    assert (tmp_path / "out/a/one").read_bytes() == b"first" * 1000
    assert stat.S_IMODE(one.st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "out/a").stat().st_mode) == 0o750
    assert one.st_mtime_ns == int(THEN.timestamp()) * 10**9 + THEN.microsecond * 1000
    assert (tmp_path / "out/a").stat().st_mtime_ns == one.st_mtime_ns
    if os.geteuid() == 0:
        assert (one.st_uid, one.st_gid) == (1000, 1001)
    assert (report.files, report.folders, report.failed) == (2, 2, 0)


def test_holes_stay_holes(files, tmp_path):
    size = 40 * PIECE
    content = bytearray(size)
    content[3 * PIECE + 5 : 3 * PIECE + 9] = b"data"
    content[-1:] = b"x"
    files.file("/sparse", bytes(content), extents=[(3 * PIECE, 3 * PIECE + 4096), (size - 1, size)])

    get(files, "/", tmp_path / "out")

    out = tmp_path / "out/sparse"
    assert out.read_bytes() == content
    assert out.stat().st_blocks * 512 < 4 * PIECE


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=8), st.integers(0, 9000))
@settings(max_examples=12, deadline=None)
def test_any_layout_of_a_file_comes_out_byte_for_byte(tmp_path_factory, layout, tail):
    files, content, extents, at = MemoryFiles(), bytearray(), [], 0
    for hole, length in layout:
        content += bytes(hole * 40_000) + b"\x07" * (length * 40_000)
        at += hole * 40_000
        extents.append((at, at + length * 40_000))
        at += length * 40_000
    content += bytes(tail)
    files.file("/f", bytes(content), extents=extents)
    folder = tmp_path_factory.mktemp("any")

    get(files, "/", folder / "out")

    assert (folder / "out/f").read_bytes() == content


def test_links_are_kept_as_links(files, tmp_path):
    files.file("/one", b"content", identity=7, links=2)
    files.folder("/b")
    files.file("/b/two", b"content", identity=7, links=2)
    files.symlink("/b/absolute", "/etc/passwd")
    files.symlink("/b/up", "../../..")

    report = get(files, "/", tmp_path / "out")

    assert (tmp_path / "out/one").stat().st_ino == (tmp_path / "out/b/two").stat().st_ino
    assert str((tmp_path / "out/b/absolute").readlink()) == "/etc/passwd"
    assert str((tmp_path / "out/b/up").readlink()) == "../../.."
    assert (report.files, report.hard_links, report.symlinks) == (1, 1, 2)


@pytest.mark.parametrize("name", ["..", ".", "", "a/../../../escaped", "/escaped", "zero\0byte"])
def test_no_name_leads_out_of_the_folder(files, tmp_path, name):
    files.folder("/a")
    files.file("/a/x", b"evil")
    files.nodes["/a/x"].entry = _named(files.nodes["/a/x"].entry, name)

    with pytest.raises((CorruptError, NotFoundError)):
        get(files, "/", tmp_path / "out")

    assert list(tmp_path.iterdir()) == []


def _named(entry, name):
    """An entry whose name is what a hostile file system says, whatever stands in its path."""

    class Named(type(entry)):
        __slots__ = ()

        @property
        def name(self):
            return name

    facts = {each: getattr(entry, each) for each in entry.__slots__}
    return Named(**facts)


def test_no_file_is_written_through_a_link_of_the_same_name(files, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    files.symlink("/trap", str(outside))
    files.folder("/trap")
    files.order["/trap"] = []
    files.file("/trap/file", b"evil", folder="/trap")

    report = get(files, "/", tmp_path / "out", keep_going=True)

    assert list(outside.iterdir()) == []
    assert [each.path for each in report.failures] == ["/trap"]


def test_two_names_that_are_one_here_are_an_error_of_the_second(files, tmp_path):
    files.file("/name", b"one of both")
    files.file("/name", b"one of both")

    report = get(files, "/", tmp_path / "out", keep_going=True)

    assert (tmp_path / "out/name").read_bytes() == b"one of both"
    assert [(each.path, "choose a tar archive" in each.why) for each in report.failures] == [("/name", True)]


def test_devices_and_sockets_are_left_out_and_said(files, tmp_path):
    files.special("/null", FileKind.DEVICE)
    files.special("/log", FileKind.SOCKET)

    report = get(files, "/", tmp_path / "out")

    assert list((tmp_path / "out").iterdir()) == []
    assert {each.example for each in report.left_out} >= {"/null", "/log"}


def test_a_program_gets_no_rights_on_this_machine(files, tmp_path):
    files.file("/su", b"#!", mode=0o4755, attributes={"security.capability": b"\1" * 20})

    report = get(files, "/", tmp_path / "out")

    assert stat.S_IMODE((tmp_path / "out/su").stat().st_mode) == 0o755
    assert "security.capability" not in os.listxattr(tmp_path / "out/su")
    assert sum("rights" in each.reason or "set-user-ID" in each.reason for each in report.left_out) == 2


def test_attributes_of_users_are_kept(files, tmp_path):
    try:
        os.setxattr(tmp_path, "user.try", b"1")
    except OSError:
        pytest.fail("the folder for temporary files has no extended attributes: set TMPDIR to one that has")
    files.file("/f", b"x", attributes={"user.note": b"\xff\0raw"})

    get(files, "/", tmp_path / "out")

    assert os.getxattr(tmp_path / "out/f", "user.note") == b"\xff\0raw"


def test_names_that_are_no_text_come_out_as_the_bytes_they_are(files, tmp_path):
    files.file("/caf\udce9\n\x1b[2J", b"x")
    files.file("/half\ud800", b"y")

    get(files, "/", tmp_path / "out")

    listed = os.listdir(os.fsencode(tmp_path / "out"))  # noqa: PTH208 - names as bytes
    assert sorted(listed) == [b"caf\xe9\n\x1b[2J", b"half\xed\xa0\x80"]


def test_a_damaged_file_is_named_and_nothing_stays(files, tmp_path):
    files.file("/good", b"good")
    files.file("/bad", b"x" * 3 * PIECE, damaged=True)

    with pytest.raises(CorruptError, match=r"^vm/p, disk0p1:/bad: restore point vm/p, Hard disk 1, byte 4711"):
        get(files, "/", tmp_path / "out")

    assert list(tmp_path.iterdir()) == []


def test_who_keeps_going_gets_the_others_and_the_list(files, tmp_path):
    files.file("/bad", b"x" * 3 * PIECE, damaged=True)
    files.file("/good", b"good")

    report = get(files, "/", tmp_path / "out", keep_going=True)

    assert [each.name for each in (tmp_path / "out").iterdir()] == ["good"]
    assert [each.path for each in report.failures] == ["/bad"]
    assert report.failed == 1


def test_bytes_that_come_back_wrong_are_an_error_and_nothing_stays(files, tmp_path, monkeypatch):
    files.file("/f", b"content" * 100_000)
    written = os.pwrite
    monkeypatch.setattr(folderwriting.os, "pwrite", lambda file, data, at: written(file, bytes(len(data)), at))

    with pytest.raises(VerificationError, match="differs from the restore point"):
        get(files, "/", tmp_path / "out", keep_going=True)

    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken_is_left_alone(files, tmp_path):
    (tmp_path / "out").write_text("mine")

    with pytest.raises(ConflictError, match="exists already"):
        get(files, "/", tmp_path / "out")

    assert (tmp_path / "out").read_text() == "mine"


def test_a_folder_that_contains_itself_ends(files, tmp_path):
    files.folder("/a", identity=5)
    files.order["/a/b"] = files.order["/a"]
    files.folder("/a/b", identity=5)

    with pytest.raises(CorruptError, match="contains itself"):
        get(files, "/", tmp_path / "out")


def test_folders_that_nobody_may_enter_come_out_and_are_removed_after_an_error(files, tmp_path):
    files.folder("/closed", mode=0)
    files.file("/closed/f", b"x", mode=0)
    get(files, "/", tmp_path / "out")
    assert stat.S_IMODE((tmp_path / "out/closed").stat().st_mode) == 0

    files.folder("/z")
    files.file("/z/bad", b"x" * PIECE, damaged=True)
    with pytest.raises(CorruptError):
        get(files, "/", tmp_path / "out2")

    assert [each.name for each in tmp_path.iterdir()] == ["out"]
    (tmp_path / "out/closed").chmod(0o700)


def test_a_tree_deeper_than_any_path_comes_out(files, tmp_path):
    path = ""
    for _ in range(300):
        path += "/" + "d" * 20
        files.folder(path)
    files.file(f"{path}/f", b"deep")

    report = get(files, "/", tmp_path / "out")

    assert (report.folders, report.files) == (301, 1)


def test_extents_out_of_order_are_said(files, tmp_path):
    files.file("/f", bytes(20_000), extents=[(8192, 12288), (0, 4096)])

    with pytest.raises(CorruptError, match="out of order"):
        get(files, "/", tmp_path / "out")


def test_extents_beyond_the_end_are_cut(files, tmp_path):
    files.file("/f", b"x" * 10)
    files.nodes["/f"].extents = (Extent(0, 4096), Extent(1 << 50, 1 << 51))

    get(files, "/", tmp_path / "out")

    assert (tmp_path / "out/f").read_bytes() == b"x" * 10
