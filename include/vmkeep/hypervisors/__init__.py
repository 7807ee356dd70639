"""Reads machines that other programs describe, as a :class:`~vmkeep.model.portable.PortableMachine`.

``ovf_reading`` reads OVF descriptors, and ``vmx_reading`` the ``.vmx`` files of VMware's desktop and early server
products. ``strangexml`` parses XML that nobody can trust.
"""

from vmkeep.hypervisors.described import DescribedMachine, DiskFile
from vmkeep.hypervisors.ovf_reading import read_ovf
from vmkeep.hypervisors.vmx_reading import read_vmx

__all__ = ["DescribedMachine", "DiskFile", "read_ovf", "read_vmx"]
