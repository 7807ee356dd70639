"""Which DAG run a run key belongs to, kept by the engine beside the run's leases in the repository.

A snapshot in vSphere names its run; the repository says whose run that is; Airflow says whether it has ended.
"""

from __future__ import annotations

from vmkeep.errors import CorruptError, NotFoundError
from vmkeep.model.job import from_json, to_json
from vmkeep.model.site import Site
from vmkeep_airflow.run_key import Owner

_NOTE = "owner"


def as_text(owner: Owner) -> str:
    """Return what a request says of its owner."""
    return to_json(owner).decode()


def parse_owner(words: str | bytes) -> Owner | None:
    """Return the DAG run that :func:`as_text` made words of; ``None`` for words of somebody else."""
    try:
        return from_json(Owner, words)
    except ValueError:
        return None


def owner_of(site: Site, run: str) -> Owner | None:
    """Return the DAG run behind a run key; ``None`` for a run of the command line or of another repository.

    ``None`` too where the note is damaged: one that nobody can read must not keep the others from being swept.
    """
    from vmkeep.repository import open_site_repository

    with open_site_repository(site) as repository:
        try:
            return parse_owner(repository.run(run).load(_NOTE))
        except (NotFoundError, CorruptError):
            return None
