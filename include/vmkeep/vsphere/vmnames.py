"""Names VMs in errors that know only their managed object ids: ``VM vm-1002`` becomes ``VM web01 (vm-1002)``.

The steps that work on a VM hand its id around, because a name may change meanwhile. People know the name. So an error
that leaves a step is completed there, by one more call for each VM that it names by its id alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from vmkeep.errors import AuthenticationError, CertificateError, DeadlineError, UnreachableError, VmKeepError
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.properties import read
from vmkeep.vsphere.session import Session

_BARE: Final = re.compile(r"\bVM (?P<moref>(?:vm-)?\d+)(?![\w-])(?! (?:\(|of ))")
"""A VM by its id alone. ESXi's ids are numbers."""
_SILENT: Final = (AuthenticationError, CertificateError, DeadlineError, UnreachableError)
"""Errors after which the server would not answer, or not in time."""
_SECONDS: Final = 5.0
"""Seconds for a call, because the error is what people wait for."""


@contextmanager
def vms_named(session: Session) -> Iterator[None]:
    """Put the name before each VM's id in the message of an error of the body.

    A VM that cannot be asked for its name keeps the id alone.
    """
    try:
        yield
    except _SILENT:
        raise
    except VmKeepError as error:
        if error.args:
            error.args = (_completed(session, str(error.args[0])), *error.args[1:])
        raise


def _completed(session: Session, message: str) -> str:
    names = {moref: _name(session, moref) for moref in dict.fromkeys(_BARE.findall(message))}

    def named(found: re.Match[str]) -> str:
        name = names[found["moref"]]
        return f"VM {name} ({found['moref']})" if name else found[0]

    return _BARE.sub(named, message)


def _name(session: Session, moref: str) -> str:
    """Return a VM's name; empty: nobody can tell it."""
    try:
        with session.patience(_SECONDS), speaking(f"read the name of VM {moref}"):
            return decode_name(read(session, session.vm(moref), "name")["name"] or "")
    except VmKeepError:
        return ""
