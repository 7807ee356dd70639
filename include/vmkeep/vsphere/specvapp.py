"""Turns the saved vApp part of a VM into the spec that makes it again. Pure."""

from __future__ import annotations

from typing import Any

from vmkeep.vsphere.api import vim

_LISTS = (
    ("product", vim.vApp.ProductSpec),
    ("property", vim.vApp.PropertySpec),
    ("ovfSection", vim.vApp.OvfSectionSpec),
)


def vapp_spec(saved: Any) -> Any:
    """Return the ``VmConfigSpec`` that gives a new VM everything in a saved ``VmConfigInfo``, with the saved keys."""
    spec = vim.vApp.VmConfigSpec(
        ipAssignment=saved.ipAssignment,
        eula=list(saved.eula),
        ovfEnvironmentTransport=list(saved.ovfEnvironmentTransport),
        installBootRequired=saved.installBootRequired,
        installBootStopDelay=saved.installBootStopDelay,
    )
    for name, kind in _LISTS:
        setattr(spec, name, [kind(operation="add", info=info) for info in getattr(saved, name)])
    return spec
