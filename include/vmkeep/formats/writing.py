"""Writes into the files of images."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from vmkeep.errors import StoreFullError, TransferError


def write_all(file: int, path: Path, data: memoryview, offset: int) -> None:
    """Write bytes at an offset of a file.

    :raises StoreFullError: there is no space left.
    :raises TransferError: the file cannot be written.
    """
    done = 0
    try:
        while done < len(data):
            done += os.pwrite(file, data[done:], offset + done)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StoreFullError(
                f"{path}: no space left ({len(data)} bytes more are needed): {error.strerror}"
            ) from error
        raise TransferError(f"{path}: cannot be written: {error.strerror}") from error
