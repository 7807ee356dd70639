"""VMware's disk images (VMDK), written and read in every kind.

A VMDK is a *descriptor*, a small text, and *extents*, which hold the disk's bytes. A flat extent holds them in their
order. A sparse extent holds *grains* of 64 KiB, and tables that say where each grain lies: a *grain directory* names
*grain tables*, and these name the grains. A descriptor lies in a file of its own, or inside a sparse extent.

``planning`` makes layouts for flat and sparse images (``flatlayout``, ``sparselayout``); ``describing`` writes
descriptors. ``header`` has the first sector of a sparse extent. ``stream`` makes the compressed kind that OVF and OVA
hold, whose size is not known before.

``source`` reads an image with its parents, each of which is named by its child and has to have the content id that the
child remembers. It takes nothing from a stranger's file for true: ``descriptor`` parses the text, ``hosted`` opens the
sparse extents of desktop programs and of OVF, ``extents`` the flat ones and those of ESX, ``openextents`` the files
that an image names, and ``grains`` looks up places in their tables.
"""

from vmkeep.formats.vmdk.describing import VmdkAdapter, VmdkFacts
from vmkeep.formats.vmdk.planning import VmdkKind, plan_vmdk
from vmkeep.formats.vmdk.source import open_vmdk
from vmkeep.formats.vmdk.stream import StreamVmdk

__all__ = ["StreamVmdk", "VmdkAdapter", "VmdkFacts", "VmdkKind", "open_vmdk", "plan_vmdk"]
