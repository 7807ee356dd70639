"""Tells the content of a volume by the signatures of file systems and of the layers below them.

Each detector checks more than a magic number where it can, because old signatures stay on disks that were formatted
anew. Layers come before file systems, because a member of a mirror shows the file system inside it, too. It reads
the first 72 KiB, a few small places, and a little at the end: of a disk in a repository, two or three blocks.
"""

from vmkeep.guest.volumes.detecting.arrays import Member, find_member
from vmkeep.guest.volumes.detecting.asking import detect, detect_all
from vmkeep.guest.volumes.detecting.content import READY, REPLAY, UNCLEAN, Content, Head
from vmkeep.guest.volumes.detecting.others import unread

__all__ = [
    "READY",
    "REPLAY",
    "UNCLEAN",
    "Content",
    "Head",
    "Member",
    "detect",
    "detect_all",
    "find_member",
    "unread",
]
