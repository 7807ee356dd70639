"""Finds a file that an image names. It has to lie in the folder of the image."""

from __future__ import annotations

import os
from pathlib import Path

from vmkeep.errors import NotFoundError, UsageError


def neighbour(image: Path, name: str, *, what: str, remedy: str = "") -> Path:
    """Return the path of a named file, which lies in the same folder as the image, also after all symbolic links.

    :param what: the file's part in the image, for messages.
    :param remedy: a command that names another file, for messages.
    :raises UsageError: the name leads out of the folder, or is none.
    :raises NotFoundError: there is no such file.
    """
    again = f", or name another one ('{remedy}')" if remedy else ""
    shown = repr(name.encode(errors="replace").decode()[:200])
    if not name or "\0" in name:
        raise UsageError(f"{image}: its {what} has no possible name: {shown}")
    folder = Path(os.path.realpath(image.parent))
    try:
        found = Path(os.path.realpath(image.parent / name, strict=True))
    except OSError as error:
        raise NotFoundError(
            f"{image}: its {what} {shown} cannot be found: {error.strerror}; put it into the same folder{again}"
        ) from error
    if found.parent != folder:
        raise UsageError(
            f"{image}: its {what} {shown} lies in another folder. An image of a stranger could name any file of this "
            f"machine, so put it into the same folder{again}"
        )
    return found
