"""Checks a whole repository."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException

from vmkeep.model.job import to_plain
from vmkeep.model.wording import counted, size
from vmkeep_airflow.operators.base import UpkeepOperator

_LINES = 10_000
"""Greatest number of findings that are logged, one line each."""


class CheckRepositoryOperator(UpkeepOperator):
    """Check the structure of a repository, and read the data of one slice of its packs, or of all.

    It records damaged packs, so that the next backup stores their blocks again if it meets them.

    :param days: the number of slices; after this many days all data was read again. Templated.
    :param part: a slice, as ``3/30``; empty: the slice of the day of the run's date. Templated.
    :param read_data: read the data of all packs. Templated.
    :returns: the ``CheckCounts`` as a dict, even if the task fails because it found damage.
    :raises AirflowFailException: the check found damage.
    """

    template_fields: Sequence[str] = (*UpkeepOperator.template_fields, "days", "part", "read_data")

    def __init__(self, *, days: Any = 30, part: Any = None, read_data: Any = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.days = days
        self.part = part
        self.read_data = read_data

    def step(self, context: Context) -> Any:
        """Check the repository."""
        from vmkeep.flows import capacity, upkeep
        from vmkeep.flows.repositories import open_site_repository

        day = context["dag_run"].run_after  # not today, so that a retry after midnight reads the same slice
        part = None if self.read_data else upkeep.choose_slice(self.part, day=day, days=int(self.days))
        site = self.site()
        with open_site_repository(site) as repository:
            findings, counts = upkeep.check(repository, part, on_progress=self.follow("check"))
            capacity.note_check(site.catalog, repository, part, all_data=part is None, findings=len(findings))
        self.log.info("checked %s: %s, %d findings", counts.data, size(counts.bytes_checked), counts.findings)
        for finding in findings[:_LINES]:
            self.log.error("%s", finding)
        result = to_plain(counts)
        if not findings:
            return result
        context["ti"].xcom_push(
            key="return_value", value=result
        )  # because Airflow keeps no result of a task that raises
        more = f" (the first {_LINES} are in the log)" if len(findings) > _LINES else ""
        raise AirflowFailException(
            f"{repository.location}: {counted(len(findings), 'finding')}{more}; mend with 'vmkeep repo repair'"
        )
