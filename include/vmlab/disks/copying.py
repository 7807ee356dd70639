"""Copies raw images into new data files, and leaves out zeros. Knows no VMDK."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_PIECE = 65536
_ZEROS = bytes(_PIECE)


def size_of(raw: Path | BinaryIO) -> int:
    """Return the length of a file or of a stream that can seek, in bytes."""
    if isinstance(raw, Path):
        with raw.open("rb") as file:
            return file.seek(0, os.SEEK_END)
    at = raw.tell()
    end = raw.seek(0, os.SEEK_END)
    raw.seek(at)
    return end - at


def copy_sparse(raw: Path | BinaryIO, target: Path, limit: int) -> None:
    """Copy at most ``limit`` bytes of ``raw`` over the zeros of ``target``."""
    with target.open("r+b") as out:
        pieces = _file_pieces(raw) if isinstance(raw, Path) else _stream_pieces(raw, 0)
        for at, piece in pieces:
            kept = piece[: max(limit - at, 0)]
            if kept != _ZEROS[: len(kept)]:
                out.seek(at)
                out.write(kept)


def _file_pieces(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        at = 0
        while at < end:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:  # there is only a hole up to the end
                return
            hole = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            while at < hole:
                piece = os.pread(file.fileno(), min(_PIECE, hole - at), at)
                if not piece:
                    return
                yield at, piece
                at += len(piece)


def _stream_pieces(stream: BinaryIO, at: int) -> Iterator[tuple[int, bytes]]:
    while piece := stream.read(_PIECE):
        yield at, piece
        at += len(piece)
