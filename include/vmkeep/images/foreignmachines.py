"""Opens the disks of a machine that an OVF, an OVA or a ``.vmx`` file describes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from vmkeep.errors import NotFoundError, UnsupportedError, UsageError
from vmkeep.formats import ImageFile, ImportFormat, Member, detect, detect_file, list_members, neighbour
from vmkeep.hypervisors import DescribedMachine, DiskFile, read_ovf, read_vmx
from vmkeep.images.foreigndisks import (
    Foreign,
    ForeignDisk,
    noted,
    open_image,
    open_image_as,
    printable,
    shown,
    told_formats,
)
from vmkeep.images.manifests import ManifestCheck, parse_manifest
from vmkeep.images.nvramfiles import load_nvram
from vmkeep.model.wording import counted
from vmkeep.transfer.progress import OnProgress

_LARGEST_TEXT: Final = 4 << 20
_TEXT_SUFFIXES: Final = (".ovf", ".mf", ".cert")


def _open_vmx(path: Path, stack: ExitStack) -> Foreign:
    described = read_vmx(str(path), _text(path))
    disks = tuple(
        _placed(open_image(found, detect(found), stack), described, file)
        for file in described.files
        for found in [neighbour(path, file.name, what=f"disk {file.name[:60]}")]
    )
    usual = f"{path.stem}.nvram"
    name = described.nvram or (usual if path.with_name(usual).exists() else "")
    kept, notes = load_nvram(name, lambda: ImageFile(neighbour(path, name, what="NVRAM"))) if name else (None, ())
    return replace(_machine(path, ImportFormat.VMX, described, disks, notes), nvram=kept)


def _open_ovf(path: Path, stack: ExitStack) -> Foreign:
    text = _text(path)
    manifest = path.with_suffix(".mf")
    present = manifest.is_file()
    listed = parse_manifest(str(manifest), _text(manifest)) if present else {}
    check = stack.enter_context(ManifestCheck(listed))
    check.require(path.name, text)

    def find(name: str) -> tuple[str, Callable[[], ImageFile]]:
        found = neighbour(path, name, what="file")
        return found.name, lambda: ImageFile(found)

    return _described(path, ImportFormat.OVF, read_ovf(str(path), text), check, find, stack, manifest=present)


def _open_ova(path: Path, stack: ExitStack) -> Foreign:
    with ImageFile(path) as archive:
        members = {member.name: member for member in list_members(archive)}
        texts = {
            name: archive.read(member.offset, member.size)
            for name, member in members.items()
            if name.lower().endswith(_TEXT_SUFFIXES) and _small(path, member)
        }
    descriptors = [name for name in texts if name.lower().endswith(".ovf")]
    if len(descriptors) != 1:
        raise UsageError(f"{path}: holds {counted(len(descriptors), '.ovf file')}, and an OVA has exactly one")
    listed: dict[str, tuple[str, str]] = {}
    manifests = [name for name in texts if name.lower().endswith(".mf")]
    for name in manifests:
        listed |= parse_manifest(f"{path}: {name}", texts[name])
    if missing := next((name for name in listed if name not in members), None):
        raise UsageError(f"{path}: lacks {missing[:200]}, which its manifest lists: it is cut off or was changed")
    check = stack.enter_context(ManifestCheck(listed))
    check.require(descriptors[0], texts[descriptors[0]])

    def find(name: str) -> tuple[str, Callable[[], ImageFile]]:
        if (member := members.get(name)) is None:
            raise NotFoundError(f"{path}: lacks the file '{name[:200]}' that its .ovf names")
        shown = f"{path}: {member.name}"
        return member.name, lambda: ImageFile(path, start=member.offset, size=member.size, name=shown)

    described = read_ovf(f"{path}: {descriptors[0]}", texts[descriptors[0]])
    opened = _described(path, ImportFormat.OVA, described, check, find, stack, manifest=bool(manifests))
    known = {*texts, *described.files_named, *map(unquote, described.files_named)}
    unknown = (shown(name) for name in members if name not in known)
    more = tuple(f"not taken over: file {name}: the .ovf does not name it" for name in unknown)
    return replace(opened, notes=(*opened.notes, *more))


def _described(
    path: Path,
    form: ImportFormat,
    described: DescribedMachine,
    check: ManifestCheck,
    find: Callable[[str], tuple[str, Callable[[], ImageFile]]],
    stack: ExitStack,
    *,
    manifest: bool,
) -> Foreign:
    """Open the disks that an OVF names, and begin to compare them with the manifest."""
    disks, unchecked = [], []
    for file in described.files:
        try:
            name, open_file = find(file.name)
        except NotFoundError:
            if (plain := unquote(file.name)) == file.name:
                raise
            name, open_file = find(plain)  # because ovftool writes a space as %20
        if file.compressed:
            raise UnsupportedError(
                f"{path}: {name} is compressed as a whole (ovf:compression): unpack it with gunzip, and take that "
                "attribute out of the .ovf"
            )
        with open_file() as opened:
            kind, size = detect_file(opened), opened.size
        if kind not in (ImportFormat.QCOW2, ImportFormat.VMDK):
            raise UnsupportedError(
                f"{path}: {name} is neither a VMDK nor a qcow2 image ({file.format or kind}): convert it"
            )
        source = open_image_as(kind, path, open_file(), stack)
        disks.append(
            _placed(
                ForeignDisk(path=path, name=name, format=kind, source=source, files=source.files, place=None),
                described,
                file,
            )
        )
        if not check.begin(name, size, open_file):
            unchecked.append(name)
    notes = _sizes(described, disks)
    if not manifest:
        notes = (*notes, f"{path.name} has no manifest, so that a change since its export could not be seen")
    elif unchecked:
        notes = (*notes, f"the manifest does not list {', '.join(unchecked)}, so that a change could not be seen")
    kept, about = _load_nvram(described, check, find)
    return replace(_machine(path, form, described, tuple(disks), (*notes, *about), check.finish), nvram=kept)


def _load_nvram(
    described: DescribedMachine, check: ManifestCheck, find: Callable[[str], tuple[str, Callable[[], ImageFile]]]
) -> tuple[bytes | None, tuple[str, ...]]:
    if not described.nvram:
        return None, ()
    kept, notes = load_nvram(shown(described.nvram), lambda: find(unquote(described.nvram))[1]())
    if kept is not None:
        check.require(unquote(described.nvram), kept)
    return kept, notes


def _machine(
    path: Path,
    form: ImportFormat,
    described: DescribedMachine,
    disks: tuple[ForeignDisk, ...],
    notes: tuple[str, ...],
    finish: Callable[[OnProgress], None] = lambda _on_progress: None,
) -> Foreign:
    left_out = tuple(f"not taken over: {part.part}: {part.why}" for part in described.machine.left_out)
    return Foreign(
        disks=disks,
        machine=described.machine,
        formats=(f"{shown(path.name)}: {form}", *told_formats(disks)),
        notes=tuple(map(printable, (*notes, *left_out, *noted(disks)))),
        finish=finish,
    )


def _placed(disk: ForeignDisk, described: DescribedMachine, file: DiskFile) -> ForeignDisk:
    place = next(place for place in described.machine.disks if place.key == file.key)
    return replace(disk, place=place)


def _sizes(described: DescribedMachine, disks: Sequence[ForeignDisk]) -> tuple[str, ...]:
    return tuple(
        f"{disk.name}: has {disk.source.capacity} bytes, and the .ovf tells {file.capacity}: its own size is kept"
        for file, disk in zip(described.files, disks, strict=True)
        if file.capacity is not None and file.capacity != disk.source.capacity
    )


def _small(path: Path, member: Member) -> bool:
    if member.size > _LARGEST_TEXT:
        raise UsageError(f"{path}: {member.name} has {member.size} bytes; {_LARGEST_TEXT} is the limit of such a text")
    return True


def _text(path: Path) -> bytes:
    with ImageFile(path) as file:
        if file.size > _LARGEST_TEXT:
            raise UsageError(f"{path}: has {file.size} bytes; {_LARGEST_TEXT} is the limit of such a text")
        return file.read(0, file.size)


MACHINES: dict[ImportFormat, Callable[[Path, ExitStack], Foreign]] = {
    ImportFormat.OVF: _open_ovf,
    ImportFormat.OVA: _open_ova,
    ImportFormat.VMX: _open_vmx,
}
