"""Policy files in a folder: each is read by itself, so that one with faults harms no other."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from vmkeep.documents import Document, Fault, Place, read_document, read_text
from vmkeep.errors import NotFoundError
from vmkeep.lateclass import dataclass
from vmkeep.policy.building import build
from vmkeep.policy.values import Policy

SUFFIX = ".yaml"
_LARGEST = 1 << 16
"""Bytes of the largest file that is taken for a policy."""
_EXAMPLE = "0d65925d7b35baff29ccc78e5d941596247b867e2802c89317906bf9c2e16f31"
"""SHA-256 of ``example.yaml`` as it comes with vmkeep. The file itself does not tell, because a site may edit it there.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFile:
    """A policy file, read and checked."""

    path: Path
    policy: Policy | None = None
    """``None``: the file has faults."""
    settled: Mapping[str, Any] = field(default_factory=dict)
    """Every field of a sound file with its value, also those that the file leaves to the defaults."""
    given: frozenset[tuple[str | int, ...]] = frozenset()
    """The fields that stand in the file."""
    faults: tuple[Fault, ...] = ()

    @property
    def is_example(self) -> bool:
        """Whether it is the example that comes with vmkeep or an unchanged copy, which nobody means for a site."""
        try:
            return self.path.stem == "example" and hashlib.sha256(self.path.read_bytes()).hexdigest() == _EXAMPLE
        except OSError:
            return False

    @property
    def lines(self) -> tuple[str, ...]:
        """The faults, each as ``file:line:column: what is wrong``: editors and terminals make links of it."""
        return tuple(f"{self.path}:{fault.place.line}:{fault.place.column}: {fault.message}" for fault in self.faults)


def default_folder() -> Path:
    """Return the folder of the policies that come with vmkeep: in the installed package, or in a checkout."""
    packaged = Path(__file__).parents[1] / "policies"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "policies"


def read_folder(folder: Path) -> tuple[PolicyFile, ...]:
    """Read every policy file of a folder, sorted by name.

    A file that is called ``.yml`` is a fault: it looks like a policy, and would back up nothing.

    :raises NotFoundError: there is no such folder.
    """
    try:
        names = sorted(entry.name for entry in os.scandir(folder))
    except OSError as error:
        raise NotFoundError(f"folder of policies {folder}: {error.strerror}") from error
    shown = [folder / name for name in names if not name.startswith(".")]
    return tuple(read_file(path) for path in shown if path.suffix.lower() in (SUFFIX, ".yml"))


def read_file(path: Path) -> PolicyFile:
    """Read one policy file."""
    if path.suffix != SUFFIX and path.exists():
        return _unread(path, f"the name of a policy file ends with {SUFFIX}: rename it")
    try:
        text = read_text(path, most=_LARGEST)
    except OSError as error:
        return _unread(path, f"the file cannot be read: {error.strerror}")
    except ValueError as error:
        return _unread(path, str(error))
    document = read_document(text)
    built = build(document, name=path.stem)
    return PolicyFile(
        path=path, policy=built.policy, settled=built.settled, given=_given(document), faults=built.faults
    )


def _given(document: Document) -> frozenset[tuple[str | int, ...]]:
    return frozenset(document.keys)


def _unread(path: Path, why: str) -> PolicyFile:
    return PolicyFile(path=path, faults=(Fault(place=Place(), message=why),))
