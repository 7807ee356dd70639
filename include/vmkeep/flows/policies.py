"""Policy files, checked for people: those of a folder, or those that are named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vmkeep.policy import PolicyFile, default_folder, read_file, read_folder


def policies_in(folder: Path | None) -> tuple[PolicyFile, ...]:
    """Read every policy file of a folder.

    :param folder: ``None``: the one of the example that comes with vmkeep.
    :raises NotFoundError: there is no such folder.
    """
    return read_folder(folder or default_folder())


def named_policies(paths: Sequence[Path]) -> tuple[PolicyFile, ...]:
    """Read the policy files that are named; a folder stands for every policy file in it."""
    found: list[PolicyFile] = []
    for path in paths:
        found.extend(read_folder(path) if path.is_dir() else (read_file(path),))
    return tuple(found)
