"""Disk images of other programs: their formats, read and written without trusting one byte of them.

Names are loaded on first use, because most images have one format, and raw ones need no other.

A *layout* (``layout``) plans an image before any data is read: its files, their sizes, and the place of each byte of
the disk in them. A disk's map tells which of its parts hold data, so that most formats can be planned whole. The
exceptions are formats that compress, because the size of compressed data is not known before.

``raw`` is the disk's bytes alone. ``qcow2`` is QEMU's format, ``vmdk`` VMware's.

``signatures`` tells a file's format by its first bytes. A reader opens its files by ``imagefile``, which never reads
beyond a file's end and can be a part of an archive; finds files that an image names by ``neighbours``; and reads in
pieces by ``reading``. ``archive`` lists the members of an OVA.
"""

from typing import TYPE_CHECKING

from vmkeep.doors import loaded_on_use

if TYPE_CHECKING:
    from vmkeep.formats.archive import Member, list_members
    from vmkeep.formats.imagefile import FileState, ImageFile, file_state, settled_state
    from vmkeep.formats.layout import Layout, PlannedFile, Run
    from vmkeep.formats.neighbours import neighbour
    from vmkeep.formats.qcow2 import Qcow2Target, open_qcow2, open_qcow2_target, plan_qcow2
    from vmkeep.formats.raw import plan_raw
    from vmkeep.formats.reading import ImageSource
    from vmkeep.formats.signatures import ImportFormat, detect, detect_file
    from vmkeep.formats.vmdk import StreamVmdk, VmdkAdapter, VmdkFacts, VmdkKind, open_vmdk, plan_vmdk

_HOMES = {
    "FileState": "imagefile",
    "ImageFile": "imagefile",
    "ImageSource": "reading",
    "ImportFormat": "signatures",
    "Layout": "layout",
    "Member": "archive",
    "PlannedFile": "layout",
    "Qcow2Target": "qcow2",
    "Run": "layout",
    "StreamVmdk": "vmdk",
    "VmdkAdapter": "vmdk",
    "VmdkFacts": "vmdk",
    "VmdkKind": "vmdk",
    "detect": "signatures",
    "detect_file": "signatures",
    "file_state": "imagefile",
    "list_members": "archive",
    "neighbour": "neighbours",
    "open_qcow2": "qcow2",
    "open_qcow2_target": "qcow2",
    "open_vmdk": "vmdk",
    "plan_qcow2": "qcow2",
    "plan_raw": "raw",
    "plan_vmdk": "vmdk",
    "settled_state": "imagefile",
}

__all__ = [
    "FileState",
    "ImageFile",
    "ImageSource",
    "ImportFormat",
    "Layout",
    "Member",
    "PlannedFile",
    "Qcow2Target",
    "Run",
    "StreamVmdk",
    "VmdkAdapter",
    "VmdkFacts",
    "VmdkKind",
    "detect",
    "detect_file",
    "file_state",
    "list_members",
    "neighbour",
    "open_qcow2",
    "open_qcow2_target",
    "open_vmdk",
    "plan_qcow2",
    "plan_raw",
    "plan_vmdk",
    "settled_state",
]

if not TYPE_CHECKING:  # or a name that is not at the door would be any to a type checker
    __getattr__ = loaded_on_use(__name__, _HOMES)
