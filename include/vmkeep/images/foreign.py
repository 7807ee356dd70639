"""Opens disk images and machines of other programs, to be stored as the disks of one restore point."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

from vmkeep.errors import NotFoundError, UnsupportedError, UsageError
from vmkeep.formats import (
    ImageFile,
    ImageSource,
    ImportFormat,
    Member,
    detect,
    detect_file,
    list_members,
    neighbour,
    open_qcow2,
    open_vmdk,
)
from vmkeep.hypervisors import DescribedMachine, DiskFile, read_ovf, read_vmx
from vmkeep.images.diskfiles import LocalFileSource
from vmkeep.images.manifests import ManifestCheck, parse_manifest
from vmkeep.images.nvramfiles import load_nvram
from vmkeep.images.unused import Unused
from vmkeep.model.blockio import DiskSource
from vmkeep.model.extents import total
from vmkeep.model.portable import PortableDisk, PortableMachine
from vmkeep.model.wording import counted
from vmkeep.transfer.progress import OnProgress

_LARGEST_TEXT = 4 << 20
_MOST_COMPRESSED = 1 << 14
"""No image holds more bytes of a disk than this times its size. Deflate reaches 1032, and zstd about 10,000."""
_TEXT_SUFFIXES = (".ovf", ".mf", ".cert")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignDisk:
    """An open disk."""

    path: Path
    """The file that a person named, for messages."""
    name: str
    """Name of its file, without folder."""
    format: ImportFormat
    source: DiskSource
    files: tuple[ImageFile, ...] = ()
    """The files that it is read from, also those of its parents; of a raw disk none, because ``path`` is its file."""
    place: PortableDisk | None
    """Where its machine has it; ``None``: no machine is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """Open disks, and their machine if it is known."""

    disks: tuple[ForeignDisk, ...]
    machine: PortableMachine | None
    formats: tuple[str, ...]
    """One phrase for each file: its name and the format that it was taken for."""
    notes: tuple[str, ...]
    """One sentence for each thing that a person should know."""
    nvram: bytes | None = None
    """The firmware's own memory; ``None``: it is not known."""
    finish: Callable[[OnProgress], None]
    """Waits until each file is compared with the manifest. Raises an error if one differs, or was changed meanwhile. To
    be called before the restore point is sealed."""


@contextmanager
def open_foreign(paths: Sequence[Path], form: ImportFormat | None) -> Iterator[Foreign]:
    """Open images, or the one file of a machine.

    :param form: the format of all of them; ``None``: each is known by its signature.
    :raises UsageError: a file is damaged, or has another format; or a machine is not the only file.
    :raises UnsupportedError: a file cannot be read.
    :raises NotFoundError: a file is missing.
    """
    formats = [form or detect(path) for path in paths]
    machines = [path for path, each in zip(paths, formats, strict=True) if each.machine]
    if machines and len(paths) > 1:
        raise UsageError(f"{machines[0]}: is a machine with its disks: import it alone")
    unused = Unused()
    unused.watch(paths)
    with ExitStack() as stack:
        if machines:
            opened = _MACHINES[formats[0]](paths[0], stack)
        else:
            disks = tuple(_open_image(path, each, stack) for path, each in zip(paths, formats, strict=True))
            opened = Foreign(
                disks=disks, machine=None, formats=_told(disks), notes=_noted(disks), finish=lambda _on_progress: None
            )  # fmt: skip
        for disk in opened.disks:
            if not disk.source.capacity:
                raise UsageError(f"{disk.path}: holds a disk of 0 bytes")
            _require_content(disk)
        unused.watch(disk.path for disk in opened.disks)
        unused.watch_open(file for disk in opened.disks for file in disk.files)

        def finish(on_progress: OnProgress) -> None:
            opened.finish(on_progress)
            unused.require_unchanged()

        yield replace(opened, finish=finish)


def _require_content(disk: ForeignDisk) -> None:
    """Return if the files of an image can hold the data that its tables tell, however well it is compressed.

    :raises UsageError: they cannot, so that many of its tables name the same place, and reading might never end.
    """
    files = {file.identity: file.size for file in disk.files}
    told = total(disk.source.allocated() or ()) if files else 0
    if told > sum(files.values()) * _MOST_COMPRESSED:
        raise UsageError(
            f"{disk.path}: is damaged or made to do harm: its tables tell of {told} bytes of data, and its files have "
            f"{sum(files.values())} bytes"
        )


def _open_image(path: Path, form: ImportFormat, stack: ExitStack) -> ForeignDisk:
    if form is ImportFormat.RAW:
        raw = stack.enter_context(LocalFileSource(path))
        return ForeignDisk(path=path, name=path.name, format=form, source=raw, place=None)
    source = _open_as(form, path, None, stack)
    return ForeignDisk(path=path, name=path.name, format=form, source=source, files=source.files, place=None)


def _open_as(form: ImportFormat, path: Path, file: ImageFile | None, stack: ExitStack) -> ImageSource:
    if form is ImportFormat.QCOW2:
        return stack.enter_context(open_qcow2(path, file=file))
    return stack.enter_context(open_vmdk(path, file=file))


def _open_vmx(path: Path, stack: ExitStack) -> Foreign:
    described = read_vmx(str(path), _text(path))
    disks = tuple(
        _placed(_open_image(found, detect(found), stack), described, file)
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


_MACHINES: dict[ImportFormat, Callable[[Path, ExitStack], Foreign]] = {
    ImportFormat.OVF: _open_ovf,
    ImportFormat.OVA: _open_ova,
    ImportFormat.VMX: _open_vmx,
}


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
        source = _open_as(kind, path, open_file(), stack)
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
        formats=(f"{shown(path.name)}: {form}", *_told(disks)),
        notes=tuple(map(_plain, (*notes, *left_out, *_noted(disks)))),
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


def _told(disks: Sequence[ForeignDisk]) -> tuple[str, ...]:
    return tuple(f"{shown(disk.name)}: {disk.format}" for disk in disks)


def _noted(disks: Sequence[ForeignDisk]) -> tuple[str, ...]:
    return tuple(note for disk in disks for note in getattr(disk.source, "notes", ()))


def shown(name: str) -> str:
    """Return a file's name as a text that a terminal may get, because the name can have any bytes."""
    return _plain(os.fsencode(name).decode(errors="replace"))


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def _small(path: Path, member: Member) -> bool:
    if member.size > _LARGEST_TEXT:
        raise UsageError(f"{path}: {member.name} has {member.size} bytes; {_LARGEST_TEXT} is the limit of such a text")
    return True


def _text(path: Path) -> bytes:
    with ImageFile(path) as file:
        if file.size > _LARGEST_TEXT:
            raise UsageError(f"{path}: has {file.size} bytes; {_LARGEST_TEXT} is the limit of such a text")
        return file.read(0, file.size)
