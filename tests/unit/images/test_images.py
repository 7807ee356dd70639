"""Raw images in and out."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from vmkeep.errors import AmbiguousError, ConflictError, NotFoundError, StoreFullError, UsageError
from vmkeep.images import export_image, import_images
from vmkeep.images.diskfiles import LocalFileTarget
from vmkeep.model.extents import Extent
from vmkeep.model.imagekeys import image_key
from vmkeep.model.point import BackupKind
from vmkeep.repository import create_repository

MIB = 1 << 20


@pytest.fixture
def repository(tmp_path):
    return create_repository(str(tmp_path / "repo"))


def write(path, *, seed=1, size=4 * MIB + 512):
    path.write_bytes(random.Random(seed).randbytes(MIB) + bytes(size - MIB))
    return path


def test_several_images_make_one_point_and_come_back(repository, tmp_path):
    paths = [write(tmp_path / f"{n}.raw", seed=n, size=(n + 2) * MIB) for n in range(3)]

    point = import_images(repository, paths, name="web server")

    assert repository.find_point("latest:web server") == point
    assert point.kind is BackupKind.FULL
    assert [image.disk.capacity for image in point.images] == [2 * MIB, 3 * MIB, 4 * MIB]
    for number, path in enumerate(paths):
        exported = export_image(repository, point, number, tmp_path / "out" if number else tmp_path / "first")
        assert (tmp_path / "out" if number else tmp_path / "first").read_bytes() == path.read_bytes()
        assert exported.bytes_written == MIB
        (tmp_path / "out").unlink(missing_ok=True)


def test_extents_make_an_increment_to_the_point_that_is_named(repository, tmp_path):
    path = write(tmp_path / "a.raw")
    first = import_images(repository, [path], name="a")
    import_images(repository, [write(tmp_path / "b.raw", seed=9)], name="b")
    before = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(2 * MIB)
        file.write(b"changed")

    second = import_images(repository, [path], name="a", extents=[[Extent(2 * MIB, 2 * MIB + 512)]], since=first.ref)

    assert second.kind is BackupKind.INCREMENTAL
    assert first.ref in second.images[0].reason
    assert second.images[0].bytes_read == 262144
    export_image(repository, second, 0, tmp_path / "out2")
    export_image(repository, first, 0, tmp_path / "out1")
    assert (tmp_path / "out2").read_bytes() == path.read_bytes()
    assert (tmp_path / "out1").read_bytes() == before


def test_extents_may_be_given_for_some_of_the_disks(repository, tmp_path):
    paths = [write(tmp_path / "0"), write(tmp_path / "1", seed=2)]
    first = import_images(repository, paths, name="vm")

    point = import_images(repository, paths, name="vm", extents=[(), None], since=first.id)

    assert [image.kind for image in point.images] == [BackupKind.INCREMENTAL, BackupKind.FULL]
    assert point.images[0].bytes_read == 0 < point.images[1].bytes_read


def test_extents_beyond_the_disk_are_refused(repository, tmp_path):
    path = write(tmp_path / "a")
    first = import_images(repository, [path], name="a")

    with pytest.raises(UsageError, match="reaches beyond"):
        import_images(repository, [path], name="a", extents=[[Extent(0, 5 * MIB)]], since=first.ref)


@pytest.mark.parametrize("extents", [[], [None, None]])
def test_extents_have_to_fit_the_number_of_images(repository, tmp_path, extents):
    with pytest.raises(UsageError, match="1 image, but extents for"):
        import_images(repository, [write(tmp_path / "a")], name="a", extents=extents)


def test_a_missing_image_is_named_before_anything_is_stored(repository, tmp_path):
    with pytest.raises(NotFoundError, match="missing"):
        import_images(repository, [write(tmp_path / "a"), tmp_path / "missing"], name="a")
    assert not (tmp_path / "repo" / "packs").exists()


def test_names_that_make_one_slug_stay_apart():
    keys = [image_key(name) for name in ("web", "Web", "web ", "wéb", "web/x", "日本", "-")]

    assert keys[0] == "image-web"
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("names", [("Web", "web-f40fa031"), ("web-f40fa031", "Web")])
def test_a_machine_whose_key_holds_points_of_another_one_is_refused(repository, tmp_path, names):
    path = write(tmp_path / "a")
    assert image_key(names[0]) == image_key(names[1])
    first = import_images(repository, [path], name=names[0])

    with pytest.raises(UsageError, match=f"'{names[1]}'.*image-web-f40fa031.*'{names[0]}'.*choose another name"):
        import_images(repository, [path], name=names[1])
    with pytest.raises(UsageError, match=f"is a point of '{names[0]}', and not of images named '{names[1]}'"):
        import_images(repository, [path], name=names[1], extents=[()], since=first.ref)

    assert list(repository.point_refs()) == [first.ref]
    import_images(repository, [path], name=names[0])
    assert len(list(repository.point_refs())) == 2


def test_a_name_that_is_the_key_of_another_machine_chooses_neither_of_the_two(repository, tmp_path):
    path = write(tmp_path / "a")
    web = import_images(repository, [path], name="web")
    assert repository.find_point("latest:image-web").ref == web.ref
    other = import_images(repository, [path], name="image-web")

    with pytest.raises(AmbiguousError, match="'image-web' is the key of one machine and the name of another"):
        repository.find_point("latest:image-web")
    with pytest.raises(AmbiguousError, match="whose key is image-image-web"):
        repository.keys_of_vm("image-web")
    assert repository.find_point("latest:web").ref == web.ref
    assert repository.find_point("latest:image-image-web").ref == other.ref


def test_an_existing_file_is_only_overwritten_when_asked(repository, tmp_path):
    point = import_images(repository, [write(tmp_path / "a")], name="a")
    out = tmp_path / "out"
    out.write_bytes(b"precious")

    with pytest.raises(ConflictError, match="exists already"):
        export_image(repository, point, 0, out)
    assert out.read_bytes() == b"precious"
    export_image(repository, point, 0, out, overwrite=True)
    assert out.read_bytes() == (tmp_path / "a").read_bytes()


def test_a_failed_export_leaves_no_file(repository, tmp_path, monkeypatch):
    point = import_images(repository, [write(tmp_path / "a")], name="a")
    before = sorted(tmp_path.iterdir())

    def refuse(self, start, data):
        raise StoreFullError("full")

    monkeypatch.setattr(LocalFileTarget, "write", refuse)
    with pytest.raises(StoreFullError):
        export_image(repository, point, 0, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("number", [-1, 1])
def test_a_disk_that_the_point_does_not_have_is_named(repository, tmp_path, number):
    point = import_images(repository, [write(tmp_path / "a")], name="a")

    with pytest.raises(NotFoundError, match="it holds 0 Hard disk 1"):
        export_image(repository, point, number, tmp_path / "out")


def test_exporting_into_a_missing_folder_is_told(repository, tmp_path):
    point = import_images(repository, [write(tmp_path / "a")], name="a")

    with pytest.raises(NotFoundError, match="nowhere: no such folder"):
        export_image(repository, point, 0, tmp_path / "nowhere" / "out")


def test_progress_counts_all_disks_together(repository, tmp_path):
    events = []
    paths = [write(tmp_path / "0"), write(tmp_path / "1", seed=2)]
    import_images(repository, paths, name="vm", on_progress=events.append)

    assert events[-1].phase == "backup disk 2 of 2"
    assert events[-1].bytes_done == events[-1].bytes_total


def test_disks_are_counted_in_order_of_their_keys_however_the_point_lists_them(repository, tmp_path):
    paths = [write(tmp_path / f"{n}.raw", seed=n, size=(n + 2) * MIB) for n in range(2)]
    point = import_images(repository, paths, name="a")
    turned = replace(point, images=point.images[::-1])

    exported = export_image(repository, turned, 0, tmp_path / "out")

    assert (exported.device_key, exported.capacity) == (2000, 2 * MIB)
    assert (tmp_path / "out").read_bytes() == paths[0].read_bytes()


def test_a_file_that_appears_during_an_export_is_not_overwritten(repository, tmp_path):
    point = import_images(repository, [write(tmp_path / "a.raw")], name="a")
    out = tmp_path / "out"

    with pytest.raises(ConflictError, match="exists already"):
        export_image(repository, point, 0, out, on_progress=lambda _: out.write_text("somebody else's"))

    assert out.read_text() == "somebody else's"
    assert list(tmp_path.glob(".*.partial")) == []


def two_days_old(path):
    os.utime(path, (time.time() - 2 * 86400,) * 2)


def test_an_export_removes_the_file_of_a_killed_one_and_not_of_a_running_one(repository, tmp_path):
    point = import_images(repository, [write(tmp_path / "a.raw")], name="a")
    dead = tmp_path / ".vmkeep-0123456789abcdef.partial"
    dead.write_bytes(b"as a killed export leaves it")
    two_days_old(dead)
    unlocked = tmp_path / ".vmkeep-fedcba9876543210.partial"
    unlocked.write_bytes(b"written by another machine, whose locks do not reach us")
    foreign = tmp_path / "vmkeep-notes.partial"
    foreign.write_bytes(b"somebody's")
    seen = []

    def another(_progress):
        if not seen:
            (running,) = {*tmp_path.glob(".vmkeep-*.partial")} - {unlocked}
            seen.append(running)
            export_image(repository, point, 0, tmp_path / "second")
            assert running.exists()

    export_image(repository, point, 0, tmp_path / "first", on_progress=another)

    assert seen
    assert not dead.exists()
    assert unlocked.exists()
    unlocked.unlink()
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes() == (tmp_path / "a.raw").read_bytes()
    assert list(tmp_path.glob(".*.partial")) == []
    assert foreign.exists()


def test_a_killed_process_leaves_its_file_to_the_next_export(repository, tmp_path):
    point = import_images(repository, [write(tmp_path / "a.raw")], name="a")
    left = tmp_path / ".vmkeep-0123456789abcdef.partial"
    code = (
        "import os, sys, pathlib\n"
        "from vmkeep.images.diskfiles import LocalFileTarget\n"
        "target = LocalFileTarget(pathlib.Path(sys.argv[1]), capacity=1 << 20, create=True)\n"
        "print(flush=True)\n"
        "os.read(0, 1)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(left)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        running.stdout.readline()
        two_days_old(left)
        export_image(repository, point, 0, tmp_path / "first")
        assert left.exists()
        running.kill()
        running.wait()

    export_image(repository, point, 0, tmp_path / "second")

    assert not left.exists()


def test_an_import_leaves_no_notes_behind(repository, tmp_path):
    import_images(repository, [write(tmp_path / "a.raw")], name="a")

    assert list(repository.blobs.list("runs/")) == []


def test_extents_may_reach_to_the_last_byte(repository, tmp_path):
    path = write(tmp_path / "a.raw")
    first = import_images(repository, [path], name="a")

    point = import_images(repository, [path], name="a", extents=[[Extent(4 * MIB, 4 * MIB + 512)]], since=first.ref)

    assert point.images[0].bytes_read == 512


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["a" * 255, "ü" * 127 + "x", "漢" * 85, "a" * 251 + ".raw"])
def test_any_name_that_the_file_system_takes_is_exported_to(repository, tmp_path, name, overwrite):
    path = write(tmp_path / "a.raw")
    point = import_images(repository, [path], name="a")
    if overwrite:
        (tmp_path / name).write_bytes(b"older")

    export_image(repository, point, 0, tmp_path / name, overwrite=overwrite)

    assert (tmp_path / name).read_bytes() == path.read_bytes()
    assert not list(tmp_path.glob(".vmkeep-*"))


def test_a_name_that_no_file_system_takes_is_refused_before_anything_is_read(repository, tmp_path):
    point = import_images(repository, [write(tmp_path / "a.raw")], name="a")

    with pytest.raises(UsageError, match="cannot be written: File name too long"):
        export_image(repository, point, 0, tmp_path / ("a" * 256))


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
def test_without_hard_links_an_export_does_not_replace_what_came_meanwhile(repository, tmp_path, monkeypatch, code):
    point = import_images(repository, [write(tmp_path / "a.raw")], name="a")
    out = tmp_path / "out"

    def late(*_arguments):
        out.write_bytes(b"somebody else's")
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", late)

    with pytest.raises(ConflictError, match="out: exists already"):
        export_image(repository, point, 0, out)
    assert out.read_bytes() == b"somebody else's"
