"""Lets several steps of one process go on with one log-in to a vCenter, and logs out after the last of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from vmkeep.errors import VmKeepError
from vmkeep.model.site import VCenter
from vmkeep.vsphere import tickets
from vmkeep.vsphere.automation import end_token
from vmkeep.vsphere.session import LOGOUT_SECONDS, connect
from vmkeep.vsphere.tickets import TicketCache


@contextmanager
def one_session(vcenter: VCenter) -> Iterator[None]:
    """Let everything in the body go on with one log-in, one after the other or at once. Log out at the end."""
    ended = None
    try:
        with tickets.log_ins_kept() as ended:
            yield
    finally:
        cache = ended() if ended is not None else None
        if cache is not None:
            with suppress(VmKeepError):  # because the server ends an idle session by itself
                _log_out(vcenter, cache)


def _log_out(vcenter: VCenter, cache: TicketCache) -> None:
    ticket, token = cache.load(vcenter), cache.load_token(vcenter)
    if ticket is None:
        return
    session = connect(vcenter, ticket, LOGOUT_SECONDS)
    try:
        if token is not None:
            end_token(session, token)
    finally:
        session.end()
