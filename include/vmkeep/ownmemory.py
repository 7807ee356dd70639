"""Memory of one process, mapped in whole pages, for buffers that are filled again and again."""

from __future__ import annotations

import mmap


def own_memory(size: int) -> mmap.mmap:
    """Return memory that holds zeros, begins at a page, and takes room only where something was written.

    Python maps memory that forked processes share unless it is told otherwise. The kernel keeps such memory as it keeps
    a file, so that the first touch of a page costs more. And a forked process would write into our buffers.
    """
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE)
