"""Access to a VM: VDDK's PrepareForAccess and EndAccess, which keep Storage vMotion off it while its disks are copied.

vCenter keeps that up until EndAccess with the same identity, whatever becomes of the process. So preparing ends first
what a dead run of the same identity has left.
"""

from __future__ import annotations

import logging

from vmkeep.errors import DeadlineError, UnsupportedError, VddkError, VmKeepError
from vmkeep.vddk.codes import UNKNOWN
from vmkeep.vddk.connectparams import open_params
from vmkeep.vddk.diskaddress import VmAddress, second_try
from vmkeep.vddk.library import Library
from vmkeep.vddk.logs import subdued
from vmkeep.vddk.ownerthread import OwnerThread

_log = logging.getLogger(__name__)


def prepare_access(library: Library, opener: OwnerThread, address: VmAddress, *, patience: float) -> None:
    """Keep Storage vMotion off a VM, until :func:`end_access` of this identity in whatever process.

    :raises UnsupportedError: the library is too old for it.
    """
    try:
        with subdued():  # that there is nothing to end may be an error
            end_access(library, opener, address, patience=patience)
    except DeadlineError:
        raise  # a library that hangs now would hang again
    except VmKeepError as error:
        _log.debug("nothing of a dead run to end: %s", error)
    doing = f"keeping Storage vMotion off {address.title}"
    _call(library, opener, "PrepareForAccess", address, patience=patience, doing=doing)


def end_access(library: Library, opener: OwnerThread, address: VmAddress, *, patience: float) -> None:
    """Allow Storage vMotion again; harmless where this identity does not keep it off, though it may be an error."""
    doing = f"allowing Storage vMotion of {address.title} again"
    _call(library, opener, "EndAccess", address, patience=patience, doing=doing)


def _call(library: Library, opener: OwnerThread, name: str, address: VmAddress, *, patience: float, doing: str) -> None:
    if not library.has(name):
        raise UnsupportedError(f"{doing}: VDDK {library.file.version} has no {name}")

    try:
        opener.run(lambda: _insist(library, name, address, doing), what=f"VDDK while {doing}", patience=patience)
    except DeadlineError:
        library.lost = True
        raise


def _insist(library: Library, name: str, address: VmAddress, doing: str) -> None:
    """Call; and again with the certificate's SHA-256, where its SHA-1 may be the reason of an unknown error."""
    try:
        _call_once(library, name, address, doing)
    except VddkError as error:
        other = second_try(address) if error.code == UNKNOWN else None
        if other is None:
            raise
        try:
            _call_once(library, name, other, doing)
        except VmKeepError as again:
            raise error from again


def _call_once(library: Library, name: str, address: VmAddress, doing: str) -> None:
    with open_params(library, address) as params:
        library.check(name, params, address.identity.encode(), doing=doing)
