"""Finds out the abilities of a VDDK before a backup, so that no backup fails halfway because one is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vmkeep.vddk.folder import LibraryFile
from vmkeep.vddk.initialised import open_vddk
from vmkeep.vddk.symbols import SYMBOLS


@dataclass(frozen=True, slots=True, kw_only=True)
class VddkProbe:
    """The abilities of a library that loads and initialises."""

    folder: str
    version: str
    transports: tuple[str, ...]
    """Transport modes in the library's order; empty: the library is too old to tell."""
    symbols: tuple[str, ...]
    """Functions that vmkeep uses and the library has, without the prefix."""
    missing: tuple[str, ...]
    """Optional functions that the library lacks; vmkeep works without them."""


def probe(folder: str | Path, *, beside: Callable[[LibraryFile], None]) -> VddkProbe:
    """Load and initialise the library in this process. Call it only in a child process, as ``vmkeep.transfer`` does.

    :param beside: tries the Python modules that have to work in one process with the library.
    """
    with open_vddk(folder) as vddk:
        beside(vddk.file)
        present = tuple(name for name in SYMBOLS if vddk.library.has(name))
        return VddkProbe(
            folder=str(vddk.file.folder),
            version=vddk.file.version,
            transports=vddk.transports(),
            symbols=present,
            missing=tuple(name for name in SYMBOLS if name not in present),
        )
