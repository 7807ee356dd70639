"""The disks of a lab's datastores, named as vSphere names them: ``[datastore1] vm/vm.vmdk``.

Makes, lists, extends, snapshots, consolidates and removes links. Knows no VM, no power
state and no snapshot tree: the caller decides which call is allowed when.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from vmlab.disks import change_tracking, descriptor
from vmlab.disks.copying import copy_sparse, size_of
from vmlab.disks.core import SECTOR, DiskError, call
from vmlab.disks.descriptor import Descriptor
from vmlab.disks.handle import DiskHandle
from vmlab.disks.path_names import split_path

_BAD_NAME = 22
_INVALID = 3
_CONTENT_ID_MISMATCH = 16008


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskInfo:
    """One link of a disk, as its files describe it."""

    ds_path: str
    capacity: int
    uuid: str | None
    """As the API shows it: ``6000C29a-…``; the same for all links of one disk."""
    content_id: str
    thin: bool
    create_type: str
    adapter: str
    parent: str | None
    files: tuple[str, ...]
    size_on_disk: int
    """The bytes that this link's files occupy."""
    tracked: bool
    change_id: str | None


class DiskStore:
    """Disks under ``root``, one folder per datastore. Holds no state but the folder's name."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def path(self, ds_path: str) -> Path:
        """Return the file that ``ds_path`` names.

        :raises DiskError: the name is malformed or leads out of its datastore (22).
        """
        found = split_path(ds_path)
        name, parts = (found[0], found[1].split("/")) if found else ("", [])
        bad = {"", ".", ".."}
        if name in bad or "/" in name or any(part in bad for part in parts) or "\0" in ds_path:
            raise DiskError(_BAD_NAME, ds_path)
        return self.root.joinpath(name, *parts)

    def ds_path(self, path: Path) -> str:
        """Return the name of a file under ``root``; other files keep their own path."""
        plain = Path(os.path.normpath(path))
        if not plain.is_relative_to(self.root):
            return str(plain)
        datastore, *rest = plain.relative_to(self.root).parts
        return f"[{datastore}] {'/'.join(rest)}"

    def create(
        self, ds_path: str, capacity: int, *, thin: bool = True, adapter: str = "lsilogic", uuid: str | None = None
    ) -> DiskInfo:
        """Make a base disk of zeros; ``capacity`` in bytes, whole sectors."""
        path = self._new(ds_path, capacity)
        arguments = (b"vmfs", adapter.encode(), _ddb_uuid(uuid), capacity // SECTOR, 19, thin)
        call("vl_create_flat", ds_path, str(path).encode(), *arguments)
        return self.info(ds_path)

    def create_from_raw(
        self,
        ds_path: str,
        raw: Path | BinaryIO,
        *,
        capacity: int | None = None,
        thin: bool = True,
        adapter: str = "lsilogic",
        uuid: str | None = None,
    ) -> DiskInfo:
        """Make a base disk that holds the bytes of ``raw``, where zeros take no room.

        ``capacity`` is in bytes; a stream that cannot seek needs it.
        """
        wanted = capacity if capacity is not None else -(-size_of(raw) // SECTOR) * SECTOR
        info = self.create(ds_path, wanted, thin=thin, adapter=adapter, uuid=uuid)
        copy_sparse(raw, self.path(info.files[1]), wanted)
        return self.info(ds_path)

    def create_rdm(
        self, ds_path: str, lun: Path, capacity: int, *, physical: bool, adapter: str = "lsilogic"
    ) -> DiskInfo:
        """Make a raw device mapping to the file or block device ``lun``, which the mapping never owns."""
        path = self._new(ds_path, capacity)
        kind = b"vmfsPassthroughRawDeviceMap" if physical else b"vmfsRawDeviceMap"
        near = lun.absolute().is_relative_to(self.root.parent)
        target = os.path.relpath(lun.absolute(), path.parent) if near else str(lun.absolute())
        arguments = (kind, target.encode(), adapter.encode(), _ddb_uuid(None), capacity // SECTOR)
        call("vl_create_raw_map", ds_path, str(path).encode(), *arguments)
        return self.info(ds_path)

    def create_child(self, parent_ds_path: str, child_ds_path: str) -> DiskInfo:
        """Make an empty delta over a link. The link is frozen from now on, and the delta gets tracking of its own."""
        parent = descriptor.load(self.path(parent_ds_path))
        child = self.path(child_ds_path)
        child.parent.mkdir(parents=True, exist_ok=True)
        call("vl_create_child", child_ds_path, str(parent.path).encode(), str(child).encode())
        if parent.track_file:
            change_tracking.fork(parent.track_file, _track_path(child))
            self._set(child, "changeTrackPath", _track_path(child).name)
        return self.info(child_ds_path)

    def consolidate(self, child_ds_path: str) -> None:
        """Merge a link into its parent and remove it; links over it get the parent. May be repeated after a crash.

        :raises DiskError: the parent was written to after the link was made (16008).
        """
        child = descriptor.load(self.path(child_ds_path))
        if child.parent is None:
            raise DiskError(_INVALID, f"{child_ds_path} has no parent to merge into")
        parent = descriptor.load(child.parent)
        if parent.content_id not in {child.parent_content_id, child.content_id}:
            raise DiskError(_CONTENT_ID_MISMATCH, child_ds_path)
        call("vl_merge", child_ds_path, str(child.path).encode(), str(parent.path).encode())
        self._merge_tracking(child, parent)
        self._set(parent.path, "CID", child.content_id, quoted=False)
        for above in self._children_of(child.path):
            self.reparent(self.ds_path(above.path), self.ds_path(parent.path))
        call("vl_remove", child_ds_path, str(child.path).encode())

    def reparent(self, child_ds_path: str, new_parent_ds_path: str) -> None:
        """Hang a link over another parent, which must have the same content as the old one."""
        child = descriptor.load(self.path(child_ds_path))
        parent = descriptor.load(self.path(new_parent_ds_path))
        near = child.path.parent == parent.path.parent
        if child.parent_content_id != parent.content_id:
            self._set(child.path, "parentCID", parent.content_id, quoted=False)
        self._set(child.path, "parentFileNameHint", parent.path.name if near else str(parent.path))

    def delete(self, ds_path: str) -> None:
        """Remove one link's files, its change tracking too; a mapped LUN stays."""
        call("vl_remove", ds_path, str(self.path(ds_path)).encode())

    def info(self, ds_path: str) -> DiskInfo:
        """Describe one link."""
        found = descriptor.load(self.path(ds_path))
        entries = found.entries
        track = found.track_file
        return DiskInfo(
            ds_path=ds_path,
            capacity=found.sectors * SECTOR,
            uuid=_api_uuid(entries.get("ddb.uuid")),
            content_id=found.content_id,
            thin=entries.get("ddb.thinprovisioned") == "1",
            create_type=entries.get("createtype", ""),
            adapter=entries.get("ddb.adaptertype", "lsilogic"),
            parent=self.ds_path(found.parent) if found.parent else None,
            files=tuple(self.ds_path(path) for path in found.files),
            size_on_disk=sum(path.stat().st_blocks * 512 for path in found.files if path.exists()),
            tracked=track is not None,
            change_id=change_tracking.load_header(track).change_id if track else None,
        )

    def chain(self, ds_path: str) -> list[str]:
        """Return the names of the disk's links, top first."""
        names: list[str] = []
        link: str | None = ds_path
        while link is not None and link not in names:
            names.append(link)
            parent = descriptor.load(self.path(link)).parent
            link = self.ds_path(parent) if parent else None
        return names

    def check_content(self, ds_path: str) -> None:
        """Raise DiskError if a link of the disk was written to after the link above it was made."""
        for link in self.chain(ds_path):
            found = descriptor.load(self.path(link))
            if found.parent and descriptor.load(found.parent).content_id != found.parent_content_id:
                raise DiskError(_CONTENT_ID_MISMATCH, link)

    def open(self, ds_path: str, *, writable: bool = False) -> DiskHandle:
        """Open a disk through its whole chain. A writable handle holds the top link for itself."""
        return DiskHandle(self.path(ds_path), writable=writable)

    def enable_tracking(self, ds_path: str) -> None:
        """Track changes under a new uuid. Does nothing if they are tracked already."""
        found = descriptor.load(self.path(ds_path))
        if found.track_file is None:
            change_tracking.create(_track_path(found.path), found.sectors * SECTOR)
            self._set(found.path, "changeTrackPath", _track_path(found.path).name)

    def disable_tracking(self, ds_path: str) -> None:
        """Forget the changes of one link."""
        found = descriptor.load(self.path(ds_path))
        if found.track_file is not None:
            self._set(found.path, "changeTrackPath", None)
            found.track_file.unlink(missing_ok=True)

    def changed_areas(self, ds_path: str, change_id: str, start: int) -> list[tuple[int, int]]:
        """Return (offset, length) of the areas of a link that were written after ``change_id``, from byte ``start`` on.

        Whole 64 KiB blocks, merged. ``"*"`` asks for the allocated areas.

        :raises UnknownChangeIdError: the link is not tracked, or ``change_id`` is of another uuid or of the future.
        """
        if change_id == "*":
            with self.open(ds_path) as disk:
                areas = disk.allocated()
            return [(max(at, start), at + length - max(at, start)) for at, length in areas if at + length > start]
        track = descriptor.load(self.path(ds_path)).track_file
        if track is None:
            raise change_tracking.UnknownChangeIdError(f"{ds_path} is not tracked")
        return change_tracking.changed_areas(track, change_id, start)

    def extend(self, ds_path: str, capacity: int) -> None:
        """Grow a base disk to ``capacity`` bytes. Its tracking begins anew."""
        path = self.path(ds_path)
        if capacity % SECTOR:
            raise DiskError(_INVALID, ds_path)
        call("vl_extend_flat", ds_path, str(path).encode(), capacity // SECTOR)
        if track := descriptor.load(path).track_file:
            change_tracking.create(track, capacity)

    def _new(self, ds_path: str, capacity: int) -> Path:
        path = self.path(ds_path)
        if capacity <= 0 or capacity % SECTOR:
            raise DiskError(_INVALID, f"{ds_path}: capacity {capacity}")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _set(self, path: Path, name: str, value: str | None, *, quoted: bool = True) -> None:
        text = value.encode() if value is not None else None
        call("vl_set_entry", path.name, str(path).encode(), None, name.encode(), text, int(quoted))

    def _merge_tracking(self, child: Descriptor, parent: Descriptor) -> None:
        if child.track_file is None:
            self.disable_tracking(self.ds_path(parent.path))
            return
        target = parent.track_file or _track_path(parent.path)
        change_tracking.take_over(child.track_file, target)
        if parent.track_file is None:
            self._set(parent.path, "changeTrackPath", target.name)

    def _children_of(self, link: Path) -> list[Descriptor]:
        children = []
        for path in link.parent.glob("*.vmdk"):
            if path.stat().st_size > descriptor.LIMIT or not _is_descriptor(path):
                continue
            found = descriptor.load(path)
            if found.parent and os.path.normpath(found.parent) == os.path.normpath(link):
                children.append(found)
        return children


def _is_descriptor(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(21).lower() == b"# disk descriptorfile"


def _track_path(link: Path) -> Path:
    return link.with_name(f"{link.stem}-ctk.vmdk")


def _ddb_uuid(uuid: str | None) -> bytes:
    digits = re.sub(r"[^0-9a-fA-F]", "", uuid) if uuid else "6000C29" + uuid4().hex[7:]
    if len(digits) != 32:
        raise DiskError(_INVALID, f"disk uuid {uuid!r}")
    pairs = [digits[i : i + 2] for i in range(0, 32, 2)]
    return (" ".join(pairs[:8]) + "-" + " ".join(pairs[8:])).encode()


def _api_uuid(ddb: str | None) -> str | None:
    digits = re.sub(r"[^0-9a-fA-F]", "", ddb or "")
    if len(digits) != 32:
        return None
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
