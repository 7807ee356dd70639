"""VDDK: VMware's C library that reads and writes virtual disks. The only place with ctypes, pointers and sectors.

*Before a disk*: ``folder`` finds the library's file, ``machine`` looks for what the library needs of the machine,
``library`` loads it, and ``initialised`` keeps it from InitEx to Exit. ``symbols`` and ``structures`` are its functions
and types as C has them; ``codes`` gives each error code a meaning. *A disk*: ``preparing`` keeps its VM where it is,
``connectparams`` says where it is, ``opendisk`` is it as the source or target of a transfer. All calls of a ``handle``
are made on one thread (``ownerthread``), each with a time-out (``timeouts``). ``diskreader`` keeps several reads under
way (``pendingcalls``), and ``allocation`` asks which areas hold data. *Its words*: ``logs``, ``blackbox``, ``timings``.

Runs in the child process of :mod:`vmkeep.transfer` alone: the library path, its crashes and its own TLS library stay
out of the worker. Importing this package loads nothing; :func:`vmkeep.vddk.initialised.open_vddk` does. For that reason
the door re-exports no names: it lists the modules that others may import.
"""

__all__ = ["blackbox", "diskaddress", "folder", "initialised", "logs", "machine", "probe", "timings"]
