"""Plain words for the choices of trigger forms, by the name of the field.

A run keeps the short words, so that one by the API and one by hand look alike.
"""

from __future__ import annotations

from collections.abc import Mapping

WORDS: Mapping[str, Mapping[str, str]] = {
    "mode": {
        "SNAPSHOT_EXCL_MEM": "a snapshot without memory, while the VM runs",
        "SNAPSHOT_INCL_MEM": "a snapshot with memory, so that it can be resumed",
        "SUSPEND": "suspend the VM for the snapshot",
        "ASIS": "no snapshot: the VM has to be off",
    },
    "quiesce": {
        "preferred": "if the guest can: file systems; else a warning",
        "required": "file systems; else the backup fails",
        "preferred:application": "if the guest can: applications, too; else a warning",
        "off": "not at all",
        "file-system": "older word for: preferred",
        "application": "older word for: preferred:application",
        "none": "older word for: off",
    },
    "freeze_failure": {"fail": "fail before the snapshot", "warn": "go on, with a warning in the point"},
    "transports": {
        "san": "san: from the storage network",
        "hotadd": "hotadd: disks attached to the proxy",
        "nbdssl": "nbdssl: network, encrypted",
        "nbd": "nbd: network, not encrypted",
    },
    "on_conflict": {
        "abort": "fail, and touch nothing",
        "overwrite": "write over its disks, without a question",
        "keep": "leave it alone, and restore nothing",
        "prompt": "ask a person first",
    },
    "verify": {"none": "nothing", "sample": "a sample", "all": "everything"},
    "scan": {
        "no": "no scan",
        "refuse": "restore nothing if malware is found or a part cannot be scanned",
        "warn": "go on, and say in the plan what was found",
    },
    "on_failure": {
        "remove": "remove a new VM; leave an existing one off",
        "keep": "keep the VM off as it is, to go on",
    },
    "undo": {"none": "none", "snapshot": "a snapshot of the VM as it was before"},
    "physical_rdm": {
        "placeholder": "a small empty disk in its place",
        "lun": "the LUN that is named below",
        "lun:virtual": "the LUN that is named below, in virtual mode",
        "lun:physical": "the LUN that is named below, in physical mode",
        "auto": "a free LUN that is found",
        "auto:virtual": "a free LUN that is found, in virtual mode",
        "auto:physical": "a free LUN that is found, in physical mode",
        "disk": "an ordinary disk with the saved content",
        "disk:thin": "an ordinary disk, thin",
        "disk:thick": "an ordinary disk, thick",
        "disk:eager": "an ordinary disk, thick and zeroed",
        "omit": "leave it out",
    },
    "mac_addresses": {
        "None": "kept together with the identity",
        "keep": "keep those that are free",
        "new": "new ones",
    },
    "format": {
        "raw": "raw: the bytes of the disk",
        "qcow2": "qcow2: for QEMU and KVM",
        "flat": "flat: VMDK, with all bytes in one file",
        "thin": "thin: VMDK without the empty parts",
        "2gbsparse": "2gbsparse: VMDK in parts of 2 GB",
        "stream": "stream: VMDK in one compressed stream",
        "ovf": "ovf: the machine and its disks, as files",
        "ova": "ova: the machine and its disks, in one file",
    },
    "to": {"None": "none: only the disks", "libvirt": "libvirt", "proxmox": "Proxmox VE", "openstack": "OpenStack"},
    "drivers": {
        "None": "those that the guest surely knows",
        "virtio": "virtio: fast, if the guest has its drivers",
        "safe": "devices that every guest knows",
    },
    "files": {"all": "all files", "changed": "files that differ from the VM's last clean point"},
    "levels": {
        "written": "written: a sample of the blocks is read",
        "all": "all: every block is read and compared",
        "file-systems": "file-systems: partitions and file systems can be read",
        "boot": "boot: the machine starts",
    },
}
"""Words by field and by value. A field may also be empty: ``None``."""
