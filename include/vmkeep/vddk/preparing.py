"""Takes and ends access holds by VDDK's PrepareForAccess and EndAccess. A hold keeps Storage vMotion off a VM.

vCenter keeps a hold until EndAccess with the same identity, even if the process dies. So taking a hold first ends the
one that a dead run with the same identity has left.
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
    """Take an access hold on a VM. It lasts until :func:`end_access` with this identity, in any process.

    :raises UnsupportedError: the library is too old for holds.
    """
    try:
        with subdued():  # because a library may report an error if there is no hold to end
            end_access(library, opener, address, patience=patience)
    except DeadlineError:
        raise  # because a library that hangs now would hang again
    except VmKeepError as error:
        _log.debug("there was no access hold of a dead run to end: %s", error)
    doing = f"keeping Storage vMotion off {address.title}"
    _call(library, opener, "PrepareForAccess", address, patience=patience, doing=doing)


def end_access(library: Library, opener: OwnerThread, address: VmAddress, *, patience: float) -> None:
    """End an access hold on a VM. Without such a hold this does no harm, but may raise an error."""
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
    """Call a function. If it fails with an unknown error, call it again with the SHA-256 of the certificate."""
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
