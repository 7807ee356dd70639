"""Writes machines for other hypervisors, and reads machines that other programs describe. Pure: texts only.

Both sides meet in a :class:`~vmkeep.model.portable.PortableMachine`.

*Writing*: ``libvirt`` writes a domain, ``proxmox`` a script for Proxmox VE, ``openstack`` a script and properties of
images, and ``ovf_writing`` an OVF descriptor for vSphere and all that read one, which ``ova`` puts into a tar.
``guests`` knows from a guest's id which devices it surely has drivers for. ``carrying`` lists the parts that do not
come along, and the steps by hand.

Names of VMs, cards and networks may hold anything: ``xmltext`` escapes them, scripts quote them, and every name that
another program has to take is made of harmless characters first.

*Reading*: ``ovf_reading`` reads OVF descriptors, and ``vmx_reading`` the ``.vmx`` files of VMware's desktop and early
server products. ``ovf_rest`` and ``vmx_rest`` name each part that is not taken over, in the words of ``unread``.
``strangexml`` parses XML that nobody can trust.
"""

from vmkeep.hypervisors.carrying import advice, left_behind, notes_text, package_advice
from vmkeep.hypervisors.described import DescribedMachine, DiskFile
from vmkeep.hypervisors.guests import Guest, guest_of_id, usual_drivers
from vmkeep.hypervisors.libvirt import libvirt_xml
from vmkeep.hypervisors.openstack import openstack_properties, openstack_script
from vmkeep.hypervisors.ova import BLOCK, END, OvaPlan, padded, plan_ova, tar_header
from vmkeep.hypervisors.ovf_reading import read_ovf
from vmkeep.hypervisors.ovf_writing import OVF_ENDS, manifest, ovf_xml
from vmkeep.hypervisors.proxmox import proxmox_script
from vmkeep.hypervisors.vmx_reading import read_vmx
from vmkeep.hypervisors.written import Wishes, WrittenDisk, host_name

__all__ = [
    "BLOCK",
    "END",
    "OVF_ENDS",
    "DescribedMachine",
    "DiskFile",
    "Guest",
    "OvaPlan",
    "Wishes",
    "WrittenDisk",
    "advice",
    "guest_of_id",
    "host_name",
    "left_behind",
    "libvirt_xml",
    "manifest",
    "notes_text",
    "openstack_properties",
    "openstack_script",
    "ovf_xml",
    "package_advice",
    "padded",
    "plan_ova",
    "proxmox_script",
    "read_ovf",
    "read_vmx",
    "tar_header",
    "usual_drivers",
]
