"""A guest's file system in memory, whose files may be hostile, sparse or damaged."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from vmkeep.errors import CorruptError, NotFoundError
from vmkeep.model.extents import Extent
from vmkeep.model.guestfiles import FileEntry, FileKind

THEN = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)


@dataclass
class Node:
    entry: FileEntry
    content: bytes = b""
    extents: tuple[Extent, ...] | None = None
    """``None``: all of the content."""
    attributes: dict[str, bytes] = field(default_factory=dict)
    damaged: bool = False


class MemoryFiles:
    """Implements the protocol of file systems over a dict. Paths begin with a slash."""

    kind = "ext4"
    warnings: tuple[str, ...] = ()
    own_folders: tuple[str, ...] = ()

    def __init__(self):
        self.nodes: dict[str, Node] = {}
        self.order: dict[str, list[Node]] = {"/": []}
        self.folder("/")

    def _put(self, path, kind, *, folder=None, size=0, **facts):
        known: dict[str, Any] = {"modified": THEN, "mode": 0o644, "uid": 1000, "gid": 1001} | facts
        node = Node(FileEntry(path=path, kind=kind, size=size, **known))
        self.nodes[path] = node
        if path != "/":
            parent = folder if folder is not None else path.rpartition("/")[0] or "/"
            self.order[parent].append(node)
        return node

    def folder(self, path, **facts):
        self.order.setdefault(path, [])
        return self._put(path, FileKind.FOLDER, **{"mode": 0o755} | facts)

    def file(self, path, content=b"", *, extents=None, attributes=None, damaged=False, **facts):
        node = self._put(path, FileKind.FILE, size=len(content), **facts)
        node.content, node.damaged = content, damaged
        node.extents = None if extents is None else tuple(Extent(*each) for each in extents)
        node.attributes = attributes or {}
        return node

    def symlink(self, path, target, **facts):
        return self._put(path, FileKind.SYMLINK, size=len(target), target=target, **{"mode": 0o777} | facts)

    def special(self, path, kind, **facts):
        return self._put(path, kind, **facts)

    def rename(self, old, new):
        """Give an entry a name that the path helpers above would not make."""
        node = self.nodes.pop(old)
        node.entry = replace(node.entry, path=new)
        self.nodes[new] = node

    def _node(self, path):
        if path not in self.nodes:
            raise NotFoundError(f"there is no {path}")
        return self.nodes[path]

    def entry(self, path):
        return self._node(path).entry

    def entries(self, path, on_bad=None):
        self._node(path)
        for node in self.order[path]:
            yield node.entry

    def open(self, path):
        node = self._node(path)
        return _Damaged(node.content) if node.damaged else io.BytesIO(node.content)

    def data_extents(self, path):
        node = self._node(path)
        if node.extents is not None:
            yield from node.extents
        elif node.content:
            yield Extent(0, len(node.content))

    def attributes(self, path):
        return self._node(path).attributes


class _Damaged(io.BytesIO):
    """Content whose second half lies in a damaged block."""

    def readinto(self, buffer):
        if self.tell() + len(buffer) > len(self.getvalue()) // 2:
            raise CorruptError("restore point vm/p, Hard disk 1, byte 4711: content does not match its digest")
        return super().readinto(buffer)
