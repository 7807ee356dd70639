"""Reads the text of a file that a person wrote, and never waits for it."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def read_text(path: Path, *, most: int) -> str:
    """Return what a file says, with line ends as YAML has them. A pipe, to which nobody may ever write, is refused.

    :param most: greatest number of bytes that the file may have.
    :raises OSError: the file cannot be read.
    :raises ValueError: it is no file, too long, or no text in UTF-8. The message is a sentence without the file's name.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("this is no file")
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"the file is longer than {most >> 10} KiB")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} is no text in UTF-8: save the file as UTF-8") from error
