"""Tar archives of strangers: every writer's headers are understood, and none leads out of the archive."""

import io
import random
import subprocess
import tarfile
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vmkeep.errors import UsageError, VmKeepError
from vmkeep.formats import ImageFile, list_members

FILES = {"web01.ovf": b"<Envelope/>", "d" * 120 + ".vmdk": random.Random(1).randbytes(1500), "web01.mf": b""}


def made(path, form, *, files=FILES, **more):
    with tarfile.open(path, "w", format=form) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in more.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_each_members_bytes_are_where_the_list_says(form, tmp_path):
    files = FILES if form != tarfile.USTAR_FORMAT else {name[-90:]: data for name, data in FILES.items()}

    with ImageFile(made(tmp_path / "a.ova", form, files=files)) as archive:
        found = {member.name: archive.read(member.offset, member.size) for member in list_members(archive)}

    assert found == files


def test_a_member_of_10_gib_is_found_by_both_ways_to_write_its_size(tmp_path):
    big = tmp_path / "big.vmdk"
    with big.open("wb") as file:
        file.truncate(10 << 30)
    for form in ("gnu", "pax"):
        header = subprocess.run(
            f"tar --format={form} -cf - -C {tmp_path} big.vmdk | head -c 3072",
            shell=True,
            capture_output=True,
            check=True,
        ).stdout
        with (tmp_path / "a.ova").open("wb") as file:
            file.write(header)
            file.truncate((10 << 30) + 10240)
        with ImageFile(tmp_path / "a.ova") as archive:
            (member,) = list_members(archive)
        assert (member.name, member.size) == ("big.vmdk", 10 << 30)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "is a symbolic link"),
        ({"type": tarfile.LNKTYPE, "linkname": "a"}, "is a hard link"),
        ({"type": tarfile.CHRTYPE}, "is a device"),
        ({"type": tarfile.DIRTYPE}, "is a folder"),
        ({"type": tarfile.FIFOTYPE}, "is a pipe"),
        ({"pax_headers": {"GNU.sparse.major": "1"}}, "is a sparse file"),
        ({"name": "../web01.ovf"}, "lies in a folder"),
        ({"name": "/web01.ovf"}, "lies in a folder"),
        ({"name": ".."}, "lies in a folder"),
        ({"pax_headers": {"path": "a/b.vmdk"}}, "lies in a folder"),
        ({"pax_headers": {"size": "1e3"}}, "the size of the member at byte .* is '1e3'"),
        ({"pax_headers": {"comment": "x" * 70_000}}, "which no OVA needs"),
    ],
)
def test_a_member_that_is_no_plain_file_is_refused(more, words, tmp_path):
    path = made(tmp_path / "a.ova", tarfile.PAX_FORMAT, files={"a": b""}, **more)

    with ImageFile(path) as archive, pytest.raises(UsageError, match=words):
        list_members(archive)


def test_two_files_of_one_name_and_a_cut_off_archive_are_refused(tmp_path):
    whole = made(tmp_path / "a.ova", tarfile.USTAR_FORMAT, files={"a": b"x" * 5000}).read_bytes()
    (tmp_path / "twice.ova").write_bytes(whole[:5632] + whole)
    (tmp_path / "cut.ova").write_bytes(whole[:3000])
    (tmp_path / "open.ova").write_bytes(whole[:5632])

    for name, words in [
        ("twice.ova", "two files of the name a"),
        ("cut.ova", "needs 5000 bytes, and 2488 are there"),
        ("open.ova", "no end of the archive is found at byte 5632"),
    ]:
        with ImageFile(tmp_path / name) as archive, pytest.raises(UsageError, match=words):
            list_members(archive)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    form=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    changes=st.lists(st.tuples(st.integers(0, 8000), st.binary(min_size=1, max_size=12)), max_size=4),
)
def test_a_mutated_archive_is_listed_within_its_bounds_or_refused(form, changes, tmp_path):
    data = bytearray(made(tmp_path / "a.ova", form).read_bytes())
    for at, new in changes:
        data[at : at + len(new)] = new
    (tmp_path / "b.ova").write_bytes(data)

    with suppress(VmKeepError), ImageFile(tmp_path / "b.ova") as archive:
        for member in list_members(archive):
            assert 0 <= member.offset <= member.offset + member.size <= len(data)
            assert "/" not in member.name
