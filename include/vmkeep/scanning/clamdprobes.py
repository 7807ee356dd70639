"""Makes a daemon of ClamAV prove itself before any of its verdicts counts.

A daemon with an empty folder of signatures calls everything clean, and so does one that stops at a limit and does not
tell. Both can be seen from outside: by a file that every ClamAV finds, and by one that is packed deeper than any
daemon unpacks.
"""

from __future__ import annotations

import gzip
import hashlib
import zipfile
from io import BytesIO
from typing import Final

from vmkeep.errors import UnsupportedError
from vmkeep.scanning.clamd import ClamdAddress, ask_about, verdict_of
from vmkeep.scanning.contract import Content, VerdictKind

_DEEP: Final = 150
"""Layers of a file that no daemon unpacks: the largest ``MaxRecursion`` that ClamAV takes is 100."""
_ENCRYPTED_FLAG: Final = 1


def prove(address: ClamdAddress) -> tuple[str, ...]:
    """Return if a daemon finds the test virus and tells when it stops at a limit.

    :returns: sentences about what it cannot see all the same.
    :raises UnsupportedError: its verdicts are worth nothing.
    :raises UnreachableError: it does not answer.
    """
    if _ask(address, _test_virus()) is not VerdictKind.FOUND:
        raise UnsupportedError(
            f"clamd at {address} does not find the test virus EICAR, so its signatures are missing or not ClamAV's: "
            "look into its DatabaseDirectory, and let freshclam fetch them"
        )
    if _ask(address, _deep_file()) is VerdictKind.CLEAN:
        raise UnsupportedError(
            f"clamd at {address} calls a file clean if it stops at a limit before the end: write 'AlertExceedsMax yes' "
            "into its clamd.conf, or name a folder of signatures, for which vmkeep starts a daemon of its own"
        )
    if _ask(address, _encrypted_archive()) is VerdictKind.CLEAN:
        blind = (
            f"clamd at {address} does not tell encrypted archives from clean ones: write 'AlertEncrypted yes' into its "
            "clamd.conf to have them listed"
        )
        return (blind,)
    return ()


def _ask(address: ClamdAddress, data: bytes) -> VerdictKind:
    content = Content(name="", size=len(data), sha256=hashlib.sha256(data).hexdigest(), data=data)
    return verdict_of(ask_about(address, content)).kind


def _test_virus() -> bytes:
    """Return the EICAR test file, in two parts, so that no scanner takes this module for it."""
    return b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


def _deep_file() -> bytes:
    data = b"vmkeep"
    for _ in range(_DEEP):
        data = gzip.compress(data, mtime=0)
    return data


def _encrypted_archive() -> bytes:
    """Return a ZIP whose only file is marked as encrypted. Nobody has to know a password to see that."""
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        writer.writestr(zipfile.ZipInfo("secret.txt"), bytes(64))
    data = bytearray(archive.getvalue())
    data[6] |= _ENCRYPTED_FLAG  # the flags in the file's own header
    data[data.index(b"PK\x01\x02") + 8] |= _ENCRYPTED_FLAG  # and in the archive's list
    return bytes(data)
