"""Keeps the yes of a second person in the repository, where nobody who only uses Airflow can forge it.

    runs/yes-<digest>/notes/by    the name of the person, for one run and the one thing that was shown

An orchestrator hands the answer from task to task in values that some of its users may edit, and some may also mark a
task as done. So the task that acts asks the repository. Maintenance removes the note a week later.
"""

from __future__ import annotations

import hashlib

from vmkeep.errors import NotFoundError
from vmkeep.model.job import to_json
from vmkeep.model.site import Site
from vmkeep.repository import open_site_repository

_BY = "by"


def keep_yes(site: Site, *, run: str, shown: str, by: str) -> None:
    """Keep a yes.

    :param run: the run that asked.
    :param shown: id of the very thing that was shown.
    :param by: name of the person.
    """
    with open_site_repository(site) as repository:
        repository.run(_area(run, shown)).store(_BY, by.encode())


def forget_yes(site: Site, *, run: str, shown: str) -> None:
    """Forget a yes, because the question is put again, or because the deed is done."""
    with open_site_repository(site) as repository:
        repository.run(_area(run, shown)).discard(_BY)


def kept_yes(site: Site, *, run: str, shown: str) -> str | None:
    """Return the name of the person who said yes to a thing in a run; ``None``: nobody did."""
    with open_site_repository(site) as repository:
        try:
            return repository.run(_area(run, shown)).load(_BY).decode()
        except NotFoundError:
            return None


def _area(run: str, shown: str) -> str:
    return f"yes-{hashlib.sha256(to_json([run, shown])).hexdigest()[:32]}"
