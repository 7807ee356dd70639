"""Counts the blobs of a repository in a folder: bytes of data, and of metadata by kind."""

from __future__ import annotations

import struct
from collections import Counter
from pathlib import Path

from vmkeep.repository import Kind

_PACK_HEADER = struct.Struct("<8sHH")
"""Magic, version, kind of the frames: docs/format.md, Packs."""


def blob_bytes(repository: Path) -> Counter[str]:
    """Return bytes by kind: ``data``, ``pages``, or the first part of a blob's name."""
    found: Counter[str] = Counter()
    for path in repository.rglob("*"):
        if path.is_file():
            found[_kind(path, repository)] += path.stat().st_size
    return found


def written(before: Counter[str], after: Counter[str]) -> tuple[int, int, str]:
    """Return bytes of data and of metadata, and both in words."""
    new = Counter({kind: size - before[kind] for kind, size in after.items() if size > before[kind]})
    data = new.pop("data", 0)
    metadata = new.total()
    kinds = ", ".join(f"{kind} {size:,}" for kind, size in sorted(new.items()))
    return data, metadata, f"{data:,} bytes of data packs and {metadata:,} of metadata ({kinds})"


def _kind(path: Path, repository: Path) -> str:
    top = path.relative_to(repository).parts[0]
    if top != "packs":
        return top
    with path.open("rb") as file:
        kind = _PACK_HEADER.unpack(file.read(_PACK_HEADER.size))[2]
    return "data" if kind == Kind.BLOCK else "pages"
