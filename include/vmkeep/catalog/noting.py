"""Lets one writer at a time note a look at a repository.

Each look replaces the rows of the one before, under the same keys. Of two at once, the second would meet the rows of
the first, and PostgreSQL would refuse them. SQLite lets only one writer into its file anyway.
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

from sqlalchemy import func, select
from sqlalchemy.orm import Session

_OURS: Final = crc32(b"vmkeep_noted") >> 1
"""First half of the key of our locks, because other programs may take locks in the same database."""


def hold_notes(session: Session, repository: str) -> None:
    """Wait for others who note a look at a repository, and let them wait until this transaction ends.

    The first statement of the transaction, so that it sees the rows of those for whom it has waited. Two repositories
    whose ids have the same sum only wait for each other.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(_OURS, crc32(repository.encode()) >> 1)))
