"""Tar and zip archives hold what the guest had, and other programs read them."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.fetching.fetched import get
from tests.unit.fetching.memoryfiles import THEN, MemoryFiles
from vmkeep.errors import CorruptError, UsageError, VerificationError
from vmkeep.fetching import zipwriting
from vmkeep.fetching.content import PIECE
from vmkeep.model.fetched import FetchForm
from vmkeep.model.guestfiles import FileKind


def streamed(files, path, form):
    """Return what a stream has taken, and the error by which it ended."""
    taken = bytearray()
    try:
        get(files, path, None, form, stream=taken.extend, name="home")
    except CorruptError as error:
        return bytes(taken), error
    return bytes(taken), None


@pytest.fixture
def home(files):
    """Files of every kind."""
    files.folder("/home", mode=0o750)
    files.file("/home/one", b"first\n" * 200_000, mode=0o4755, identity=9, links=2, attributes={"user.a": b"\xff\0b"})
    files.file("/home/two", b"first\n" * 200_000, mode=0o4755, identity=9, links=2)
    files.file("/home/" + "long" * 50, b"x", uid=3_000_000)
    files.file("/home/caf\udce9", b"latin")
    files.symlink("/home/link", "../../etc/passwd")
    files.special("/home/pipe", FileKind.PIPE)
    files.special("/home/disk", FileKind.DEVICE)
    content = bytearray(30 * PIECE)
    content[5 * PIECE : 5 * PIECE + 3] = b"mid"
    files.file("/home/sparse", bytes(content), extents=[(5 * PIECE, 5 * PIECE + 3)])
    return files


def test_a_tar_archive_keeps_everything(home, tmp_path):
    report = get(home, "/home", tmp_path / "home.tar", FetchForm.TAR, name="home")

    with tarfile.open(tmp_path / "home.tar", errors="surrogateescape") as archive:
        members = {each.name: each for each in archive}
        assert archive.extractfile(members["home/one"]).read() == b"first\n" * 200_000
        assert archive.extractfile(members["home/caf\udce9"]).read() == b"latin"
        sparse = archive.extractfile(members["home/sparse"]).read()
    one = members["home/one"]
    assert (one.mode, one.uid, one.gid, one.pax_headers["mtime"]) == (0o4755, 1000, 1001, f"{THEN.timestamp():.6f}")
    assert one.pax_headers["SCHILY.xattr.user.a"].encode("utf-8", "surrogateescape") == b"\xff\0b"
    assert members["home/two"].islnk()
    assert members["home/two"].linkname == "home/one"
    assert members["home/link"].linkname == "../../etc/passwd"
    assert members["home/pipe"].isfifo()
    assert members["home/" + "long" * 50].uid == 3_000_000
    assert sparse == home.nodes["/home/sparse"].content
    assert (tmp_path / "home.tar").stat().st_size < 3 * PIECE
    assert "home/disk" not in members
    assert [each.example for each in report.left_out] == ["/home/disk"]


def test_gnu_tar_unpacks_it_with_holes_links_and_attributes(home, tmp_path):
    get(home, "/home", tmp_path / "home.tar", FetchForm.TAR, name="home")
    (tmp_path / "out").mkdir()

    done = subprocess.run(
        ["tar", "--xattrs", "-xpf", "../home.tar"], cwd=tmp_path / "out", capture_output=True, text=True, check=True
    )

    out = tmp_path / "out/home"
    assert [line for line in done.stderr.splitlines() if "hdrcharset" not in line and "SCHILY" not in line] == []
    assert (out / "one").read_bytes() == b"first\n" * 200_000
    assert (out / "one").stat().st_ino == (out / "two").stat().st_ino
    assert (out / "sparse").read_bytes() == home.nodes["/home/sparse"].content
    assert (out / "sparse").stat().st_blocks * 512 < PIECE
    assert os.getxattr(out / "one", "user.a") == b"\xff\0b"
    assert b"caf\xe9" in os.listdir(os.fsencode(out))  # noqa: PTH208 - names as bytes
    if os.geteuid() == 0:
        assert stat.S_IMODE((out / "one").stat().st_mode) == 0o4755
        assert (out / ("long" * 50)).stat().st_uid == 3_000_000


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3)), max_size=6), st.integers(0, 5000))
@settings(max_examples=15, deadline=None)
def test_any_sparse_file_comes_out_of_a_tar_as_it_was(layout, tail):
    files, content, extents = MemoryFiles(), bytearray(), []
    for hole, length in layout:
        content += bytes(hole * 3000)
        extents.append((len(content), len(content) + length * 3000))
        content += b"\x05" * (length * 3000)
    content += bytes(tail)
    files.file("/f", bytes(content), extents=extents)
    out = io.BytesIO()

    get(files, "/f", None, FetchForm.TAR, stream=out.write, name="f")

    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        member = archive.next()
        assert archive.extractfile(member).read() == content


def test_a_damaged_file_leaves_no_archive(files, tmp_path):
    files.file("/bad", b"x" * 3 * PIECE, damaged=True)

    for form in (FetchForm.TAR, FetchForm.ZIP):
        with pytest.raises(CorruptError, match=r"^vm/p, disk0p1:/bad"):
            get(files, "/", tmp_path / f"out.{form}", form)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", [FetchForm.TAR, FetchForm.ZIP])
def test_who_keeps_going_gets_a_whole_archive_of_the_others(files, tmp_path, form):
    files.file("/bad", b"x" * 3 * PIECE, damaged=True)
    files.file("/good", b"good")

    report = get(files, "/", tmp_path / "out", form, keep_going=True)

    with (tarfile.open if form is FetchForm.TAR else zipfile.ZipFile)(tmp_path / "out") as archive:
        names = archive.getnames() if form is FetchForm.TAR else archive.namelist()
    assert [name.strip("/") for name in names] == ["top", "top/good"]
    assert [each.path for each in report.failures] == ["/bad"]


def test_a_zip_archive_keeps_names_content_modes_times_and_links(files, tmp_path):
    files.file("/a", b"a" * 3_000_000, mode=0o4750)
    files.file("/b\N{SNOWMAN}", b"")
    files.symlink("/l", "../up")
    files.file("/sparse", bytes(20 * PIECE), extents=[])

    report = get(files, "/", tmp_path / "out.zip", FetchForm.ZIP)

    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        infos = {info.filename: info for info in archive.infolist()}
        assert archive.read("top/a") == b"a" * 3_000_000
        assert archive.read("top/l") == b"../up"
        assert archive.read("top/sparse") == bytes(20 * PIECE)
    assert set(infos) == {"top/", "top/a", "top/b\N{SNOWMAN}", "top/l", "top/sparse"}
    assert infos["top/a"].external_attr >> 16 == stat.S_IFREG | 0o750
    assert stat.S_ISLNK(infos["top/l"].external_attr >> 16)
    assert infos["top/a"].date_time == (2026, 3, 4, 5, 6, 6)  # DOS counts every second second
    assert any("a tar archive does" in each.reason for each in report.left_out)


def test_a_zip_archive_on_a_stream_holds_the_same(home):
    home.rename("/home/caf\udce9", "/home/cafe")
    taken, _ = streamed(home, "/home", FetchForm.ZIP)
    with zipfile.ZipFile(io.BytesIO(taken)) as archive:
        assert archive.testzip() is None
        assert archive.read("home/one") == b"first\n" * 200_000
        assert archive.read("home/sparse") == home.nodes["/home/sparse"].content


@pytest.mark.parametrize("form", [FetchForm.ZIP, FetchForm.TAR])
def test_an_archive_on_a_stream_that_ends_early_looks_not_whole(files, form):
    files.folder("/home")
    files.file("/home/a", b"good" * 1000)
    files.file("/home/b", b"bad" * 1000, damaged=True)
    taken, error = streamed(files, "/home", form)
    assert "/home/b" in str(error)
    assert b"good" in taken or form is FetchForm.ZIP
    assert not zipfile.is_zipfile(io.BytesIO(taken))
    assert not taken.endswith(bytes(1024))


@pytest.mark.parametrize("name", ["..\\..\\evil.exe", "caf\udce9"])
def test_a_zip_archive_takes_no_name_that_others_read_as_another(files, tmp_path, name):
    files.file(f"/{name}", b"evil")

    report = get(files, "/", tmp_path / "out.zip", FetchForm.ZIP, keep_going=True)

    assert zipfile.ZipFile(tmp_path / "out.zip").namelist() == ["top/"]
    assert "choose a tar archive" in report.failures[0].why


def test_a_zip_archive_takes_no_more_members_than_memory_allows(files, tmp_path, monkeypatch):
    monkeypatch.setattr(zipwriting, "_MOST", 3)
    for number in range(4):
        files.file(f"/{number}", b"")

    with pytest.raises(UsageError, match="choose a tar archive"):
        get(files, "/", tmp_path / "out.zip", FetchForm.ZIP)

    assert list(tmp_path.iterdir()) == []


def test_an_archive_that_comes_back_wrong_leaves_nothing(files, tmp_path, monkeypatch):
    files.file("/f", b"content" * 1000)
    real = os.write
    monkeypatch.setattr("vmkeep.fetching.fetching.os.write", lambda file, data: real(file, bytes(len(data))))

    with pytest.raises(VerificationError, match="other bytes came back"):
        get(files, "/", tmp_path / "out.tar", FetchForm.TAR)

    assert list(tmp_path.iterdir()) == []


def test_a_stream_gets_one_file_with_zeros_for_its_holes(files):
    content = bytes(3 * PIECE) + b"end" + bytes(PIECE)
    files.file("/f", content, extents=[(3 * PIECE, 3 * PIECE + 3)])
    out = io.BytesIO()

    get(files, "/f", None, None, stream=out.write)

    assert out.getvalue() == content
