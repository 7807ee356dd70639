"""VMware's disk images (VMDK), written and read in every kind.

A VMDK is a *descriptor*, a small text, and *extents*, which hold the disk's bytes. A flat extent holds them in their
order. A sparse extent holds *grains* of 64 KiB, and tables that say where each grain lies: a *grain directory* names
*grain tables*, and these name the grains. A descriptor lies in a file of its own, or inside a sparse extent.

``planning`` makes layouts for flat and sparse images (``flatlayout``, ``sparselayout``); ``describing`` writes
descriptors. ``header`` has the first sector of a sparse extent. ``stream`` makes the compressed kind that OVF and OVA
hold, whose size is not known before.
"""

from vmkeep.formats.vmdk.describing import VmdkAdapter, VmdkFacts
from vmkeep.formats.vmdk.planning import VmdkKind, plan_vmdk
from vmkeep.formats.vmdk.stream import StreamVmdk

__all__ = ["StreamVmdk", "VmdkAdapter", "VmdkFacts", "VmdkKind", "plan_vmdk"]
