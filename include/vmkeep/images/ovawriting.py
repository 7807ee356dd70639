"""Writes a point's disks into an OVA, one after the other, because their sizes are known only when they are written.

What stands before data whose size or digest is not known yet is reserved: descriptor and manifest at the beginning, and
the header of each disk. All of it is written last, so that an OVA that is cut short has no beginning.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

from vmkeep.hypervisors import BLOCK, END, OvaPlan, WrittenDisk, padded, plan_ova, tar_header
from vmkeep.images.imageplans import PlannedImage
from vmkeep.lateclass import dataclass
from vmkeep.model.portable import PortableMachine
from vmkeep.model.sinks import Sink
from vmkeep.repository import Repository
from vmkeep.transfer.progress import OnProgress


@dataclass(frozen=True, slots=True, kw_only=True)
class OvaWriter:
    """An OVA of some disks."""

    planned: Sequence[PlannedImage]
    plan: OvaPlan

    @property
    def most(self) -> int:
        """Bytes that the OVA has at most."""
        disks = sum(BLOCK + padded(file.size) for each in self.planned for file in each.plan.files)
        return self.plan.head_size + disks + END

    def write(
        self,
        repository: Repository,
        sink: Sink,
        *,
        bars: Mapping[int, OnProgress],
        check: Callable[[], None],
    ) -> list[int]:
        """Write the OVA, and finish the file. Return the bytes of data of each disk.

        :param bars: the progress of each disk, by its number.
        """
        at = self.plan.head_size
        sink.reserve(0, at)
        headers: list[tuple[int, bytes]] = []
        files: list[WrittenDisk] = []
        digests: dict[str, str] = {}
        for each in self.planned:
            key, name = each.image.disk.key, each.plan.files[0].name
            sink.reserve(at, BLOCK)
            inner = _InnerSink(sink, at + BLOCK)
            data = each.plan.write(
                repository, each.image.root, [inner], on_progress=bars[each.number], check=check, what=each.what
            )
            headers.append((at, tar_header(name, inner.size)))
            files.append(WrittenDisk(key=key, name=name, size=inner.size, populated=data))
            digests[name] = inner.sha256
            at += BLOCK + padded(inner.size)
        for place, header in headers:
            sink.write_at(place, header)
        sink.write_at(0, self.plan.head(files, digests))
        sink.finish(at + END)
        return [file.populated for file in files]


def plan_writer(planned: Sequence[PlannedImage], machine: PortableMachine, base: str) -> OvaWriter:
    """Return the writer of an OVA with the images of some disks.

    :param base: name of descriptor and manifest without their ends; ASCII.
    """
    names = {each.image.disk.key: each.plan.files[0].name for each in planned}
    return OvaWriter(planned=planned, plan=plan_ova(machine, base, names))


class _InnerSink:
    """A file inside of another one."""

    in_order = True

    def __init__(self, outer: Sink, start: int) -> None:
        self._outer = outer
        self._start = start
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        """Hex digest of the bytes so far."""
        return self._hash.hexdigest()

    def write_at(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write bytes that follow those written last."""
        self._hash.update(data)
        self._outer.write_at(self._start + offset, data)

    def reserve(self, offset: int, length: int) -> None:
        """Promise nothing, because a digest takes the bytes in their order."""
        raise NotImplementedError

    def finish(self, size: int) -> None:
        """Note the size."""
        self.size = size
