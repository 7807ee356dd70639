"""Machines of other programs become restore points whole, or nothing of them is sealed."""

import hashlib
import io
import shutil
import subprocess
import tarfile
import threading

import pytest

from tests.command_line import run_here
from tests.ova import make_ova, ovf_of
from tests.patience import HANG
from vmkeep.errors import NotFoundError, UnsupportedError, UsageError
from vmkeep.formats import ImageFile, ImportFormat
from vmkeep.images import Kept, export_image, import_images
from vmkeep.images.manifests import ManifestCheck
from vmkeep.repository import create_repository
from vmkeep.vsphere.configspec import parse_config
from vmkeep.vsphere.importedconfig import known_guest

MIB = 1 << 20


@pytest.fixture(scope="module")
def disks(tmp_path_factory):
    """Two qcow2 images of 2 MiB and 3 MiB, and the raw bytes of each."""
    folder, made = tmp_path_factory.mktemp("disks"), {}
    for number, size in ((1, 2 * MIB), (2, 3 * MIB)):
        raw, image = folder / f"{number}.raw", folder / f"web01-disk{number}.qcow2"
        raw.write_bytes(bytes(size - MIB) + hashlib.shake_128(bytes([number])).digest(MIB))
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image], check=True)
        made[image] = raw.read_bytes()
    return made


@pytest.fixture
def repository(tmp_path):
    return create_repository(str(tmp_path / "repo"))


@pytest.fixture
def ova(disks, tmp_path):
    return make_ova(tmp_path / "web01.ova", {image: len(raw) for image, raw in disks.items()})


def exported(repository, point, folder):
    for number in range(len(point.images)):
        export_image(repository, point, number, folder / f"{number}.out")
    return [(folder / f"{number}.out").read_bytes() for number in range(len(point.images))]


def sealed(repository):
    return [blob.key for blob in repository.blobs.list("points/")]


def rewritten(ova, change):
    """Write the archive again, with the members as a function changes them."""
    with tarfile.open(ova) as archive:
        members = {info.name: archive.extractfile(info).read() for info in archive}
    change(members)
    with tarfile.open(ova, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def test_an_ova_is_stored_with_all_its_disks_where_its_machine_has_them(repository, ova, disks, tmp_path):
    seen = []

    point = import_images(repository, [ova], name="web01", describe=lambda foreign, _: seen.append(foreign) or Kept())

    assert exported(repository, point, tmp_path) == list(disks.values())
    assert [image.disk.address for image in point.images] == ["scsi0:0", "scsi0:1"]
    assert seen[0].formats[0] == "web01.ova: ova"
    assert seen[0].notes == ()


def test_an_ovf_in_a_folder_is_stored_like_an_ova_and_a_blank_in_a_name_is_found(repository, disks, tmp_path):
    folder = tmp_path / "export"
    folder.mkdir()
    names = {f"web 01-{image.name}": image for image in disks}
    for name, image in names.items():
        shutil.copy(image, folder / name)
    sizes = {name.replace(" ", "%20"): len(disks[image]) for name, image in names.items()}
    (folder / "web01.ovf").write_bytes(ovf_of(sizes))
    seen = []

    point = import_images(
        repository, [folder / "web01.ovf"], name="web01", describe=lambda foreign, _: seen.append(foreign) or Kept()
    )

    assert exported(repository, point, tmp_path) == list(disks.values())
    assert seen[0].notes == ("web01.ovf has no manifest, so that a change since its export could not be seen",)


def test_a_vmx_file_is_stored_with_the_disks_beside_it(repository, disks, tmp_path):
    first, second = disks
    for image in disks:
        shutil.copy(image, tmp_path / image.name)
    (tmp_path / "a.vmx").write_text(
        f'config.version = "8"\nmemsize = "512"\nide0:0.present = "TRUE"\nide0:0.fileName = "{second.name}"\n'
        f'scsi0:3.present = "TRUE"\nscsi0:3.fileName = "{first.name}"\n'
    )

    point = import_images(repository, [tmp_path / "a.vmx"], name="a")

    assert [image.disk.address for image in point.images] == ["scsi0:3", "ide0:0"]
    assert exported(repository, point, tmp_path) == list(disks.values())


DISK = "web01-disk2.qcow2"


def flipped(members):
    members[DISK] = members[DISK][:-1] + b"?"


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (flipped, UsageError, f"{DISK}: its SHA256 is .*was changed or damaged"),
        (
            lambda members: members.update({"web01.ovf": members["web01.ovf"] + b" "}),
            UsageError,
            "web01.ovf: its SHA256",
        ),
        (lambda members: members.pop(DISK), UsageError, f"lacks {DISK}, which its manifest lists"),
        (lambda members: (members.pop(DISK), members.pop("web01.mf")), NotFoundError, f"lacks the file '{DISK}'"),
        (lambda members: members.pop("web01.ovf"), UsageError, "holds 0 .ovf files"),
        (lambda members: members.update({"b.ovf": b""}), UsageError, "holds 2 .ovf files"),
        (lambda members: members.update({"web01.mf": b"md5(a)= 00"}), UsageError, "line 1: is no digest"),
        (lambda members: members.update({"a.mf": bytes(5 * MIB)}), UsageError, "the limit of such a text"),
    ],
)
def test_an_ova_that_was_changed_or_is_incomplete_is_not_sealed(change, error, words, repository, ova):
    rewritten(ova, change)

    with pytest.raises(error, match=words):
        import_images(repository, [ova], name="web01")
    assert sealed(repository) == []


@pytest.mark.parametrize(
    ("old", "new", "error", "words"),
    [
        (b'ovf:id="file1"', b'ovf:id="file1" ovf:compression="gzip"', UnsupportedError, "compressed as a whole"),
        (DISK.encode(), b"../other.qcow2", UsageError, "lies in another folder"),
        (DISK.encode(), b"/etc/passwd", UsageError, "lies in another folder"),
        (DISK.encode(), b"http://10.0.0.1/disk.vmdk", NotFoundError, "cannot be found"),
        (DISK.encode(), b"notes.txt", UnsupportedError, "neither a VMDK nor a qcow2 image"),
    ],
)
def test_an_ovf_does_not_lead_out_of_its_folder_and_no_format_is_guessed(
    old, new, error, words, repository, disks, tmp_path
):
    folder = tmp_path / "export"
    folder.mkdir()
    for image in disks:
        shutil.copy(image, folder)
        shutil.copy(image, tmp_path / "other.qcow2")
    (folder / "notes.txt").write_text("no disk")
    (folder / "a.ovf").write_bytes(ovf_of({image.name: len(raw) for image, raw in disks.items()}).replace(old, new))

    with pytest.raises(error, match=words):
        import_images(repository, [folder / "a.ovf"], name="a")


def test_a_machine_is_imported_alone_and_a_forced_format_is_not_overruled(repository, ova, disks):
    image = next(iter(disks))
    with pytest.raises(UsageError, match="import it alone"):
        import_images(repository, [ova, image], name="a")
    with pytest.raises(UsageError, match="is no qcow2 image"):
        import_images(repository, [ova], name="a", form=ImportFormat.QCOW2)
    assert sealed(repository) == []


@pytest.mark.parametrize(
    ("told", "known"),
    [
        ("debian12-64", "debian12_64Guest"),
        ("windows9srv-64", "windows9Server64Guest"),
        ("rhel9_64Guest", "rhel9_64Guest"),
        ("otherlinux-64", "otherLinux64Guest"),
        ("no such system", "otherGuest64"),
    ],
)
def test_the_guest_of_a_vmx_file_gets_vspheres_id(told, known):
    assert known_guest(told) == known


def test_the_configuration_of_an_imported_machine_has_each_of_its_parts(repository, ova, tmp_path):
    from vmkeep.flows.disk_images import ImportRequest
    from vmkeep.flows.disk_images import import_images as import_machine

    point = import_machine(
        repository, ImportRequest(paths=(ova,), name="web01", memory_mib=1025), on_progress=lambda _: None
    ).point

    config = parse_config(repository.load_attachment(point, "config.xml"))
    assert (config.name, config.hardware.numCPU, config.hardware.memoryMB) == ("web01", 2, 1028)
    assert [type(device).__name__.rpartition(".")[2] for device in config.hardware.device] == [
        "VirtualPCIController", "VirtualIDEController", "VirtualIDEController", "ParaVirtualSCSIController",
        "VirtualDisk", "VirtualDisk", "VirtualVmxnet3",
    ]  # fmt: skip


def test_a_machine_of_workstation_with_a_snapshot_is_stored_as_it_was_last(repository, disks, tmp_path):
    image, raw = next(iter(disks.items()))
    for command in (
        ["qemu-img", "convert", "-O", "vmdk", image, tmp_path / "a.vmdk"],
        ["qemu-img", "create", "-q", "-f", "vmdk", "-b", "a.vmdk", "-F", "vmdk", tmp_path / "a-000001.vmdk"],
        ["qemu-io", "-f", "vmdk", "-c", "write -P 7 64k 64k", tmp_path / "a-000001.vmdk"],
    ):
        subprocess.run(command, check=True, capture_output=True)
    (tmp_path / "a.vmx").write_text(
        'config.version = "8"\nscsi0:0.present = "TRUE"\nscsi0:0.fileName = "a-000001.vmdk"\nmemsize = "256"\n'
    )

    point = import_images(repository, [tmp_path / "a.vmx"], name="a")

    assert exported(repository, point, tmp_path) == [raw[: 64 << 10] + b"\7" * (64 << 10) + raw[128 << 10 :]]


def test_an_ova_of_stream_optimized_disks_is_stored_where_it_lies(repository, disks, tmp_path):
    streams = {}
    for image, raw in disks.items():
        stream = tmp_path / f"{image.stem}.vmdk"
        subprocess.run(
            ["qemu-img", "convert", "-O", "vmdk", "-o", "subformat=streamOptimized", image, stream], check=True
        )
        streams[stream] = len(raw)

    point = import_images(repository, [make_ova(tmp_path / "a.ova", streams)], name="a")

    assert exported(repository, point, tmp_path) == list(disks.values())


VMX = 'config.version = "8"\nfirmware = "efi"\nmemsize = "512"\nscsi0:0.present = "TRUE"\nscsi0:0.fileName = "{}"\n'
NVRAM = b"MRVN" + bytes(1000)


def import_machine(repository, path, **told):
    from vmkeep.flows import disk_images

    request = disk_images.ImportRequest(paths=(path,), name="a", **told)
    return disk_images.import_images(repository, request, on_progress=lambda _: None).point


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--memory", "99999999999999999999"),
        ("--memory", str((24 << 20) + 1)),
        ("--cpus", "769"),
        ("--guest-id", "de\nbian"),
        ("--guest-id", "x'y"),
        ("--guest-id", ""),
        ("--guest-id", "a" * 101),
    ],
)
def test_a_machine_that_no_vcenter_can_make_is_refused_before_anything_is_stored(repository, disks, option, value):
    image, location = str(next(iter(disks))), repository.location

    done = run_here("image", "import", image, "--name", "a", option, value, "--repository", location)

    assert done.returncode == 2
    assert option in done.stderr
    assert list(repository.point_refs()) == []


@pytest.mark.parametrize(("told", "notes"), [("debain12_64Guest", 1), ("debian12_64Guest", 0), ("otherGuest64", 0)])
def test_a_guest_system_that_is_not_known_is_told_at_the_import(repository, disks, told, notes):
    point = import_machine(repository, next(iter(disks)), guest_id=told)

    assert len(point.warnings) == notes
    for note in point.warnings:
        assert note == f"the guest system '{told}' is not known: a new VM gets otherGuest64"


@pytest.fixture
def vmx(disks, tmp_path):
    image = next(iter(disks))
    shutil.copy(image, tmp_path)
    (tmp_path / "a.vmx").write_text(VMX.format(image.name) + 'sched.cpu.max = "500"\n')
    return tmp_path / "a.vmx"


def test_the_nvram_beside_a_vmx_file_is_kept_and_notes_stay_with_the_point(repository, vmx):
    from vmkeep.flows.restore_saved import load_saved
    from vmkeep.flows.saved_machine import saved_machine

    vmx.with_suffix(".nvram").write_bytes(NVRAM)

    point = import_machine(repository, vmx)

    assert repository.load_attachment(point, "vm.nvram") == NVRAM
    (note,) = point.warnings
    assert "settings (sched.cpu.max=500)" in note
    assert load_saved(repository, point).notes == point.warnings
    assert note in [part.why for part in saved_machine(repository, point).left_out]


@pytest.mark.parametrize(
    ("content", "firmware", "words"),
    [
        (b"UVM0" * 100, None, "does not begin as an NVRAM of VMware"),
        (bytes(5 << 20), None, "which no NVRAM has"),
        (None, None, "cannot be found"),
        (NVRAM, "bios", "belongs to the firmware efi, and bios is asked for"),
    ],
)
def test_an_nvram_that_cannot_be_kept_is_told_and_the_disks_are_stored(content, firmware, words, repository, vmx):
    from vmkeep.model.portable import Firmware

    vmx.write_text(vmx.read_text() + 'nvram = "other.nvram"\n')
    if content is not None:
        (vmx.parent / "other.nvram").write_bytes(content)

    point = import_machine(repository, vmx, firmware=Firmware(firmware) if firmware else None)

    assert "vm.nvram" not in point.attachments
    assert any(note.startswith("not taken over: NVRAM: ") and words in note for note in point.warnings)


def test_the_nvram_in_an_ova_is_kept_and_each_file_that_nothing_names_is_told(repository, ova):
    def change(members):
        text = members.pop("web01.ovf").replace(b"</References>", b'<File ovf:href="a.nvram" ovf:id="n"/></References>')
        config = b'<vmw:ExtraConfig vmw:key="nvram" vmw:value="ovf:/file/n"/></VirtualHardwareSection>'
        others = dict(members) | {"a.nvram": NVRAM, "notes.txt": b"hello"}
        members.clear()
        members["web01.ovf"] = text.replace(b"</VirtualHardwareSection>", config)
        members |= {name: data for name, data in others.items() if name != "web01.mf"}

    rewritten(ova, change)

    point = import_machine(repository, ova)

    assert repository.load_attachment(point, "vm.nvram") == NVRAM
    assert [note for note in point.warnings if "notes.txt" in note]
    assert not [note for note in point.warnings if "a.nvram" in note]


def test_the_wait_for_the_manifests_digests_shows_its_progress(tmp_path):
    path = tmp_path / "a.vmdk"
    path.write_bytes(b"a" * (3 << 20))
    shown, events = threading.Event(), []

    class Slow(ImageFile):
        def read(self, offset, length):
            if offset:
                assert shown.wait(HANG)
            return super().read(offset, length)

    def report(event):
        events.append(event)
        if event.bytes_done:
            shown.set()

    with ManifestCheck({"a.vmdk": ("sha256", hashlib.sha256(path.read_bytes()).hexdigest())}) as check:
        assert check.begin("a.vmdk", 3 << 20, lambda: Slow(path))
        check.finish(report)

    assert (events[0].phase, events[0].bytes_total) == ("comparing with the manifest", 3 << 20)


def test_an_image_whose_tables_tell_more_than_its_files_can_hold_is_refused_before_it_is_read(repository, tmp_path):
    path = tmp_path / "bomb.qcow2"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=2M,refcount_bits=1", path, "500G"], check=True
    )
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write 0 2M", path], check=True, capture_output=True)
    with path.open("r+b") as file:
        file.seek(40)
        file.seek(int.from_bytes(file.read(8), "big"))
        table = int.from_bytes(file.read(8), "big") & 0x00FF_FFFF_FFFF_FE00
        file.seek(table)
        file.write((table + (2 << 20) | 1 << 63).to_bytes(8, "big") * (256 << 10))

    with pytest.raises(UsageError, match="its tables tell of 536870912000 bytes of data"):
        import_images(repository, [path], name="bomb")
    assert sealed(repository) == []
