"""Wraps VDDK, VMware's C library that reads and writes virtual disks. Only this package has pointers and sectors.

*Before a disk is opened*: ``folder`` finds the library's file, ``machine`` checks files that the library needs on the
machine, ``library`` loads it, and ``initialised`` holds it from InitEx to Exit. ``symbols`` and ``structures`` declare
its functions and types as C has them; ``codes`` gives each error code a meaning. *A disk*: ``preparing`` takes the
access hold on its VM, ``connectparams`` passes its address, and ``opendisk`` makes it the source or target of a
transfer. All calls of a ``handle`` are made on one thread (``ownerthread``), each with a time-out (``timeouts``).
``diskreader`` keeps several reads in flight (``pendingcalls``), and ``allocation`` asks for the areas that hold data.
*The library's messages and times*: ``logs`` and ``timings``. ``driver`` makes all of it a disk driver
(:mod:`vmkeep.model.diskaccess`), and is the door: no other package imports another module of this one.

The library is loaded only in the child process of :mod:`vmkeep.transfer`, so that its library path, its crashes and
its TLS library stay out of the worker. Importing this package loads nothing, because only
:func:`vmkeep.vddk.initialised.open_vddk` loads the library. Therefore the door re-exports no names.
"""

__all__ = ["driver"]
