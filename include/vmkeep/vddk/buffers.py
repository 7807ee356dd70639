"""Page-aligned memory that C code reads or fills, and addresses of memory that Python objects own."""

from __future__ import annotations

import ctypes
from queue import Empty, SimpleQueue

from vmkeep.ownmemory import own_memory

_BUF_SIMPLE = 0


class Buffer:
    """Reused memory of a fixed size, page-aligned because HotAdd without the host's cache demands it."""

    def __init__(self, size: int) -> None:
        self._memory = own_memory(size)
        self.view = memoryview(self._memory)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))


class BufferPool:
    """Buffers of one size, made when none is free."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._free: SimpleQueue[Buffer] = SimpleQueue()

    def take(self) -> Buffer:
        """Return a free buffer, with old content."""
        try:
            return self._free.get_nowait()
        except Empty:
            return Buffer(self.size)

    def give_back(self, buffer: Buffer) -> None:
        """Make a buffer free again. The library must not be able to write to it any more."""
        self._free.put(buffer)


class _PyBuffer(ctypes.Structure):
    """CPython's ``Py_buffer``."""

    _fields_ = [
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    ]


def address_of(data: memoryview) -> int:
    """Return the address of ``data``, which may be read-only. It is valid while the caller holds ``data``."""
    view = _PyBuffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(data), ctypes.byref(view), _BUF_SIMPLE)
    try:
        return int(view.buf)
    finally:
        ctypes.pythonapi.PyBuffer_Release(ctypes.byref(view))
