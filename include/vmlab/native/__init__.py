"""The lab's C code, and how it is compiled.

Two shared libraries come from it. The disk core (`util.c` to `merge.c`, public names `vl_…`) reads, writes and merges
VMDK chains; Python calls it through `vmlab.disks`. The stand-in for VMware's libvixDiskLib (`vix_*.c`) exports
VMware's functions over the same core. A backup client loads it as it would load the real one.

`compiling` builds a library with the C compiler it finds, once per state of the sources, into a cache of the user.
"""

from vmlab.native.compiling import DISK_CORE, VDDK, BuildError, build

__all__ = ["DISK_CORE", "VDDK", "BuildError", "build"]
