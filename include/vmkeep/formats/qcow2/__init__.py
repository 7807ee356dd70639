"""QEMU's qcow2 images: planned, read, and written in place.

A disk is cut into *clusters*. The file's L1 table lists L2 tables, and each L2 table tells where 512 MiB of the disk
lie (with clusters of 64 KiB). Reference counts tell which clusters of the file are in use. The format is described by
QEMU's ``docs/interop/qcow2.txt``; all numbers are big-endian.

``header`` makes and checks the header. ``planning`` plans an image as a layout: all tables first, then the data in the
order of the disk, so that neighbours on the disk are neighbours in the file. ``source`` reads an image and its backing
files, by the ``tables`` and with ``compressed`` clusters. ``target`` writes into an image in place.
"""

from vmkeep.formats.qcow2.planning import plan_qcow2
from vmkeep.formats.qcow2.source import open_qcow2
from vmkeep.formats.qcow2.target import Qcow2Target, open_qcow2_target

__all__ = ["Qcow2Target", "open_qcow2", "open_qcow2_target", "plan_qcow2"]
