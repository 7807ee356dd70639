"""The versions of this program, of the libraries that it uses, and of the repository format that it writes."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

from vmkeep import __version__
from vmkeep.errors import VmKeepError
from vmkeep.model.site import Site
from vmkeep.repository.unlock.descriptor import FORMAT_VERSION
from vmkeep.transfer import choose_driver

_LIBRARIES = ("pyvmomi", "zstandard", "blake3", "obstore")


def versions(vddk: str | None) -> dict[str, Any]:
    """Return all versions by name.

    :param vddk: the folder of VDDK; ``None``: it is not known.
    """
    return {
        "vmkeep": __version__,
        "python": platform.python_version(),
        "libraries": {name: _installed(name) for name in _LIBRARIES},
        "vddk": _vddk(vddk) if vddk else None,
        "repository_format": FORMAT_VERSION,
    }


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _vddk(folder: str) -> dict[str, str]:
    """Return VDDK's version and folder, or the reason why its version cannot be read."""
    try:
        launch = choose_driver(Site(repository="", vddk=folder, disk_drivers=("vddk",))).launch
    except VmKeepError as error:
        return {"problem": str(error)}
    return {"version": launch.version, "folder": launch.folder}
