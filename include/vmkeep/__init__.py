"""vmkeep: agentless, image-level backup and restore of VMware vSphere VMs.

The engine runs with no Airflow installed. Layers, upper imports lower only (held by a lint contract):
cli > flows > images > transfer, maintenance > repository, catalog, vsphere, vddk, policy, mapping, proxy > blobs,
documents, retention, selection > model > blackbox, clock, doors, extras, lateclass, ownmemory, privacy, scratch
> errors.
``testing`` stands above all of them, and no other package imports it.
A package is entered through its door: the names and modules in its ``__all__``.
"""

from __future__ import annotations

__version__: str


def __getattr__(name: str) -> str:
    """Read the version from the installed package when somebody asks: pyproject.toml is the only place it stands in."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version("vmkeep")
