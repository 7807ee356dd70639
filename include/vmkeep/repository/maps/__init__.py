"""A disk as a tree of digests.

The leaves are the digests of the disk's blocks. 64 of them make a *page*, a page of the next level names 64 pages, and
a *root* names the top (``maps``). A reserved digest names zeros, which are not stored. Equal disks have equal roots,
and an incremental backup shares every page that did not change.

The *map builder* grows the tree while the disk is copied, in memory that does not depend on the disk's size
(``mapbuilder``). Small files that belong to a restore point, such as NVRAM and the VM's configuration, are stored in
the same way (``attachments``).
"""

from vmkeep.repository.maps.attachments import read_content, write_content
from vmkeep.repository.maps.mapbuilder import MapBuilder
from vmkeep.repository.maps.maps import FAN_OUT, PAGE_SIZE, ROOT_SIZE, DiskMap, Shape, encode_root, entry, parse_root

__all__ = [
    "FAN_OUT",
    "PAGE_SIZE",
    "ROOT_SIZE",
    "DiskMap",
    "MapBuilder",
    "Shape",
    "encode_root",
    "entry",
    "parse_root",
    "read_content",
    "write_content",
]
