"""VDDK: VMware's C library that reads and writes virtual disks. The only place with ctypes, pointers and sectors.

Runs in the child process of :mod:`vmkeep.transfer` alone: the library path, its crashes and its own TLS library stay
out of the worker. Importing this package loads nothing; :func:`vmkeep.vddk.session.open_vddk` does.
"""
