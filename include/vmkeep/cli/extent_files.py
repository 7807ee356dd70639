"""Files that tell what has changed on a disk: JSON, ``[[start, length], …]`` in bytes.

Such a file may hold millions of pairs, so it is parsed a piece at a time: as lists of Python's own, all of them would
take many times as much memory as the file.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from vmkeep.errors import UsageError
from vmkeep.model.extents import Extents, from_pairs

_PIECE = 1 << 18
_BETWEEN = re.compile(r"\]\s*,(?=\s*\[)")
"""The text between two pairs."""
_NO_LIST = "not a JSON list of [start, length] pairs"


def load_extents(path: Path) -> Extents:
    """Read the extents in a file.

    :raises UsageError: it cannot be read, or is not a JSON list of pairs.
    """
    try:
        with path.open(encoding="utf-8") as file:
            return from_pairs(_pairs(file))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from error


def _pairs(file: TextIO) -> Iterator[Sequence[int]]:
    """Yield the pairs of a list, from pieces of it that each are a list themselves."""
    text = ""
    while not text and (more := file.read(_PIECE)):
        text = more.lstrip()
    if not text.startswith("["):
        raise ValueError(_NO_LIST)
    text = text[1:]
    while more := file.read(_PIECE):
        for end in deque(_BETWEEN.finditer(text), maxlen=1):
            yield from _parsed(f"[{text[: end.start()]}]]")
            text = text[end.end() :]
        text += more
    yield from _parsed(f"[{text}")


def _parsed(text: str) -> list[Sequence[int]]:
    pairs = json.loads(text)
    if not isinstance(pairs, list) or not all(isinstance(pair, list) for pair in pairs):
        raise ValueError(_NO_LIST)
    return pairs
