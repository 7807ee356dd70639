"""Probes the abilities of a VDDK folder before a backup, so that no backup fails halfway for lack of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vmkeep.vddk.folder import LibraryFile
from vmkeep.vddk.initialised import open_vddk
from vmkeep.vddk.symbols import SYMBOLS


@dataclass(frozen=True, slots=True, kw_only=True)
class VddkProbe:
    """A library that loads and initialises."""

    folder: str
    version: str
    transports: tuple[str, ...]
    """In the library's own order; empty where it is too old to tell."""
    symbols: tuple[str, ...]
    """Functions it has, of those that vmkeep uses, without the prefix."""
    missing: tuple[str, ...]
    """Optional ones it lacks; vmkeep does without."""


def probe(folder: str | Path, *, beside: Callable[[LibraryFile], None]) -> VddkProbe:
    """Load and initialise the library in this process. Call it in a child, as ``vmkeep.transfer`` does.

    :param beside: tries what has to work in one process with the library.
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
