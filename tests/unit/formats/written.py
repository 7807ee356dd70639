"""Writes an image of a layout as an export does, so that other programs can judge it."""

from __future__ import annotations

import os
from pathlib import Path

from vmkeep.formats import Layout


def write_layout(layout: Layout, folder: Path, disk: Path) -> Path:
    """Write the image of a raw disk and return its first file."""
    files = [os.open(folder / planned.name, os.O_RDWR | os.O_CREAT) for planned in layout.files]
    source = os.open(disk, os.O_RDONLY)
    try:
        for file, planned in zip(files, layout.files, strict=True):
            os.truncate(file, planned.size)
        for run in layout.runs():
            data = os.pread(source, run.length, run.start) if run.data is None else run.data
            assert os.pwrite(files[run.file], data, run.offset) == run.length
    finally:
        for file in (*files, source):
            os.close(file)
    return folder / layout.files[0].name


def write_raw(path: Path, capacity: int, parts: dict[int, bytes]) -> Path:
    """Write a sparse raw disk with some parts, by their offset."""
    with path.open("wb") as file:
        file.truncate(capacity)
        for start, data in parts.items():
            file.seek(start)
            file.write(data)
    return path
