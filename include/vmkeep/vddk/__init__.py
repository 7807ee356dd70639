"""VDDK: VMware's C library that reads and writes virtual disks. The only place with ctypes, pointers and sectors.

Runs in the child process of :mod:`vmkeep.transfer` alone: the library path, its crashes and its own TLS library stay
out of the worker. Importing this package loads nothing; :func:`vmkeep.vddk.initialised.open_vddk` does. For that reason
the door re-exports no names: it lists the modules that others may import.
"""

__all__ = ["blackbox", "diskaddress", "folder", "initialised", "logs", "machine", "probe", "timings"]
