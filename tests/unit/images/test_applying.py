"""Another point of a VM on images that were exported before."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.command_line import run_here
from tests.patience import eventually
from vmkeep.errors import ConflictError, NotFoundError, UnsupportedError, UsageError, VerificationError
from vmkeep.images import LocalPlace, apply_point, export_point, import_images
from vmkeep.model.exports import ImageFormat, parse_manifest
from vmkeep.model.overwrite import Verify
from vmkeep.repository import create_repository

MIB = 1 << 20
SIZE = 6 * MIB + 512


def quiet(_):
    return lambda _progress: None


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """A repository, and three points of a disk: data is changed, becomes zero, and appears in a hole."""
    folder = tmp_path_factory.mktemp("three")
    content = bytearray(bytes(range(256)) * 2048 + random.Random(1).randbytes(3 * MIB // 2) + bytes(SIZE - 2 * MIB))
    repository = create_repository(str(folder / "repo"))
    points, contents = [], []
    for number in range(3):
        if number == 1:
            content[MIB : MIB + 512] = b"changed".ljust(512)
            content[5 * MIB : 5 * MIB + 4096] = b"appeared" * 512
        if number == 2:
            content[: MIB // 2] = bytes(MIB // 2)
            content[-512:] = b"end".ljust(512)
        disk = folder / f"{number}.raw"
        disk.write_bytes(content)
        points.append(import_images(repository, [disk], name="web"))
        contents.append(disk)
    return repository, points, contents


@pytest.fixture(params=[ImageFormat.RAW, ImageFormat.QCOW2, ImageFormat.FLAT])
def exported(three, tmp_path, request):
    """The first point as an image, and its manifest."""
    repository, points, _ = three
    done = export_point(repository, points[0], LocalPlace(tmp_path), form=request.param, name="web", on_progress=quiet)
    image = done.disks[0].files[-1].name  # of a flat VMDK, the file beside its descriptor
    return tmp_path / done.manifest, tmp_path / image, "qcow2" if request.param is ImageFormat.QCOW2 else "raw"


def same(image, form, original):
    compare = ["qemu-img", "compare", "-f", "raw", "-F", form, str(original), str(image)]
    return subprocess.run(compare, check=False, capture_output=True).returncode == 0


def apply(three, number, path, **changed):
    return apply_point(three[0], three[1][number], path, on_progress=quiet, **changed)


def test_two_increments_and_a_step_back_make_the_image_equal_to_the_disk_each_time(three, exported):
    manifest, image, form = exported
    for number in (1, 2, 0):
        applied = apply(three, number, manifest)
        assert same(image, form, three[2][number])
        assert applied.disks[0].bytes_changed <= MIB + 512
        assert parse_manifest(manifest.read_bytes(), what="it").point == three[1][number].ref
    if form == "qcow2":
        subprocess.run(["qemu-img", "check", str(image)], check=True, capture_output=True)


def test_a_dry_run_says_how_much_and_writes_nothing(three, exported):
    manifest, image, _ = exported
    before = manifest.read_bytes(), image.read_bytes()
    assert apply(three, 1, image, dry_run=True).disks[0].bytes_changed == 2 * three[0].descriptor.block_size
    assert (manifest.read_bytes(), image.read_bytes()) == before


def test_an_image_that_was_booted_is_refused(three, exported):
    manifest, image, form = exported
    written = ["qemu-io", "-f", form, "-c", "write -P 7 1M 512", str(image)]
    subprocess.run(written, check=True, capture_output=True)
    os.utime(image, ns=(manifest.stat().st_mtime_ns + 1,) * 2)
    before = manifest.read_bytes(), image.read_bytes()
    with pytest.raises(ConflictError, match="was changed since it was written"):
        apply(three, 1, manifest)
    assert (manifest.read_bytes(), image.read_bytes()) == before


def test_an_image_that_was_only_copied_is_taken(three, exported):
    manifest, image, form = exported
    os.utime(image, ns=(manifest.stat().st_mtime_ns + 1,) * 2)
    apply(three, 1, manifest)
    assert same(image, form, three[2][1])


class PowerCut(BaseException):
    """Ends a try as nothing else does."""


def cut_off(three, number, manifest, *, after):
    """Try to apply a point, and die after a number of pieces."""

    def tick():
        if three[1][number].images[0].root in (parse_manifest(manifest.read_bytes(), what="it").disks[0].applying):
            ticks.append(1)
        if len(ticks) > after:
            raise PowerCut

    ticks = []
    with pytest.raises(PowerCut):
        apply(three, number, manifest, check=tick)


@pytest.mark.parametrize("then", [1, 2, 0])
def test_a_killed_try_is_made_up_for_by_any_point(three, exported, then):
    manifest, image, form = exported
    cut_off(three, 1, manifest, after=1)
    applied = apply(three, then, manifest, verify=Verify.NONE)
    assert applied.resumed
    assert applied.disks[0].bytes_compared > MIB  # all of it, whatever was asked for
    assert same(image, form, three[2][then])


def test_killed_tries_with_different_points_are_made_up_for_by_any_point(three, exported):
    manifest, image, form = exported
    cut_off(three, 2, manifest, after=0)
    cut_off(three, 1, manifest, after=0)
    apply(three, 0, manifest)
    assert same(image, form, three[2][0])
    assert not parse_manifest(manifest.read_bytes(), what="it").disks[0].applying


def test_an_image_that_another_process_replaces_meanwhile_keeps_its_own_manifest(three, exported, tmp_path):
    manifest, image, _ = exported
    other = tmp_path / "other"
    other.write_bytes(image.read_bytes())

    def replace_once():
        if other.exists() and parse_manifest(manifest.read_bytes(), what="it").disks[0].applying:
            other.replace(image)

    with pytest.raises(ConflictError, match="has replaced the image"):
        apply(three, 1, manifest, check=replace_once)
    assert parse_manifest(manifest.read_bytes(), what="it").point == three[1][0].ref


def test_the_manifest_tells_the_size_of_each_file_as_it_is_now(three, exported, tmp_path):
    manifest, _, _ = exported
    manifest.chmod(0o600)
    apply(three, 1, manifest)
    assert manifest.stat().st_mode & 0o777 == 0o600
    files = parse_manifest(manifest.read_bytes(), what="it").disks[0].files
    assert {file.name: file.size for file in files} == {
        file.name: (tmp_path / file.name).stat().st_size for file in files
    }


def test_what_became_zero_takes_no_space_any_more(three, tmp_path):
    repository, points, _ = three
    done = export_point(
        repository, points[0], LocalPlace(tmp_path), form=ImageFormat.RAW, name="web", on_progress=quiet
    )
    image = tmp_path / done.disks[0].files[0].name
    before = image.stat().st_blocks
    apply(three, 2, tmp_path / done.manifest)
    assert image.stat().st_blocks * 512 <= before * 512 - MIB // 2 + 2 * three[0].descriptor.block_size


@pytest.fixture
def qcow2(three, tmp_path):
    """The first point as a qcow2 image, and its manifest."""
    repository, points, _ = three
    done = export_point(
        repository, points[0], LocalPlace(tmp_path), form=ImageFormat.QCOW2, name="web", on_progress=quiet
    )
    return tmp_path / done.manifest, tmp_path / done.disks[0].files[0].name


def test_an_image_that_was_compressed_is_refused_before_anything_is_written(three, qcow2, tmp_path):
    manifest, image = qcow2
    packed = tmp_path / "packed"
    subprocess.run(["qemu-img", "convert", "-c", "-O", "qcow2", str(image), str(packed)], check=True)
    packed.replace(image)
    before = manifest.read_bytes(), image.read_bytes()
    with pytest.raises(UnsupportedError, match="is compressed"):
        apply(three, 2, manifest)
    assert (manifest.read_bytes(), image.read_bytes()) == before


def test_a_bitmap_of_changed_blocks_in_the_image_is_out_of_date_afterwards(three, qcow2):
    manifest, image = qcow2
    subprocess.run(["qemu-img", "bitmap", "--add", str(image), "since"], check=True)
    apply(three, 1, manifest)
    told = subprocess.run(["qemu-img", "info", "--output=json", str(image)], check=True, capture_output=True)
    (bitmap,) = json.loads(told.stdout)["format-specific"]["data"].get("bitmaps", [{"flags": ["in-use"]}])
    assert "in-use" in bitmap["flags"]
    assert same(image, "qcow2", three[2][1])


def test_a_change_between_a_killed_try_and_the_next_is_found(three, exported):
    manifest, image, form = exported
    plain = json.loads(manifest.read_bytes())
    plain["disks"][0]["applying"] = [three[1][1].images[0].root]
    manifest.write_text(json.dumps(plain))
    subprocess.run(["qemu-io", "-f", form, "-c", "write -P 7 256k 512", str(image)], check=True, capture_output=True)
    with pytest.raises((ConflictError, VerificationError)):
        apply(three, 1, manifest)


def test_an_image_that_qemu_has_open_is_refused(three, exported):
    manifest, image, form = exported
    opened = subprocess.Popen(
        ["qemu-io", "-f", form, str(image)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    opened.stdin.write("read 0 512\n")
    opened.stdin.flush()
    opened.stdout.readline()
    try:
        with pytest.raises(ConflictError, match="is in use"):
            apply(three, 1, manifest)
    finally:
        opened.communicate("quit\n")


def test_a_map_that_is_gone_costs_a_whole_write_and_no_error(three, exported):
    manifest, image, form = exported
    plain = json.loads(manifest.read_bytes())
    plain["disks"][0]["root"] = "0" * len(plain["disks"][0]["root"])
    manifest.write_text(json.dumps(plain))
    applied = apply(three, 2, manifest)
    assert applied.whole
    assert same(image, form, three[2][2])


def _booted(image, form):
    subprocess.run(["qemu-io", "-f", form, "-c", "write -P 7 1M 512", str(image)], check=True, capture_output=True)


def _booted_and_put_back(image, form):
    times = image.stat()
    _booted(image, form)
    os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))


def _copied_with_its_folder(image, form):
    _booted_and_put_back(image, form)
    for path in (image, next(image.parent.glob("*.export.json"))):  # the manifest last, as cp does it
        shutil.copy2(path, path.with_name("copy"))
        path.with_name("copy").replace(path)


@pytest.mark.parametrize("change", [_booted, _booted_and_put_back, _copied_with_its_folder])
def test_a_map_that_is_gone_is_no_reason_to_overwrite_what_somebody_wrote(three, exported, change):
    manifest, image, form = exported
    plain = json.loads(manifest.read_bytes())
    plain["disks"][0]["root"] = "0" * 64
    manifest.write_text(json.dumps(plain))
    probe = image.with_name("probe")
    probe.touch()  # the clock of files ticks every few milliseconds, and nobody boots a disk within one of them
    eventually(lambda: os.utime(probe) or probe.stat().st_ctime_ns > manifest.stat().st_ctime_ns)
    probe.unlink()
    change(image, form)
    before = image.read_bytes()
    with pytest.raises(ConflictError, match="nobody can tell"):
        apply(three, 2, manifest)
    assert image.read_bytes() == before


def test_a_root_that_is_no_digest_is_no_manifest(three, exported):
    manifest, _, _ = exported
    plain = json.loads(manifest.read_bytes())
    plain["disks"][0]["root"] = "../x"
    manifest.write_text(json.dumps(plain))
    with pytest.raises(UsageError, match="no root of a map"):
        apply(three, 2, manifest)


def test_another_vm_and_a_foreign_image_are_refused(three, exported, tmp_path):
    repository, _, contents = three
    manifest, _, _ = exported
    other = import_images(repository, [contents[0]], name="other")
    with pytest.raises(ConflictError, match="point of another VM"):
        apply_point(repository, other, manifest, on_progress=quiet)
    with pytest.raises(UnsupportedError, match="on S3"):
        apply_point(repository, other, Path("s3://bucket/web.export.json"), on_progress=quiet)
    with pytest.raises(NotFoundError, match="no such file"):
        apply_point(repository, other, tmp_path / "none.raw", on_progress=quiet)
    stranger = tmp_path / "stranger.raw"
    stranger.write_bytes(bytes(512))
    with pytest.raises(NotFoundError, match="no manifest"):
        apply(three, 1, stranger)


def test_the_command_says_how_much_it_wrote(three, exported):
    manifest, _, _ = exported
    repository, points, _ = three
    done = run_here("point", "apply", points[1].ref, str(manifest), "-r", repository.location, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["disks"][0]["bytes_compared"] > 0
