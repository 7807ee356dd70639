"""Takes the NVRAM of a strange machine, so that its guest finds its boot entries again on vSphere."""

from __future__ import annotations

from collections.abc import Callable

from vmkeep.errors import NotFoundError, UsageError
from vmkeep.formats import ImageFile

_MAGIC = b"MRVN"
"""VMware's NVRAM files begin with it. Those of other programs, such as VirtualBox, have another form."""
_LARGEST = 4 << 20


def load_nvram(name: str, open_file: Callable[[], ImageFile]) -> tuple[bytes | None, tuple[str, ...]]:
    """Return the NVRAM, or nothing and the reason in words.

    :param name: the file's name, for the words.
    :param open_file: opens the file.
    """
    try:
        with open_file() as file:
            if not len(_MAGIC) <= file.size <= _LARGEST:
                return None, _not_taken(f"the file {name} has {file.size} bytes, which no NVRAM has")
            data = file.read(0, file.size)
    except (NotFoundError, UsageError) as error:
        return None, _not_taken(str(error))
    if not data.startswith(_MAGIC):
        return None, _not_taken(f"the file {name} does not begin as an NVRAM of VMware")
    return data, ()


def _not_taken(why: str) -> tuple[str, ...]:
    lost = (
        "the new machine starts with the usual settings of its firmware, and with EFI without boot entries of its own"
    )
    return (f"not taken over: NVRAM: {why}: {lost}",)
