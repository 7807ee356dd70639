"""The rule that a second person has to say yes before something is lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk.exceptions import AirflowFailException


def is_demanded() -> bool:
    """Return whether an installation demands a second person: Airflow's setting ``[vmkeep] second_person``."""
    from airflow.configuration import conf

    chosen = conf.get("vmkeep", "second_person", fallback="").strip()  # the compose file leaves it empty
    return bool(chosen and conf.getboolean("vmkeep", "second_person"))


def require(starter: str | None, answerer: Mapping[str, Any]) -> None:
    """Return if another person than the one who started a run has answered.

    A run that nobody started who is known by name has no first person, so that anybody known by name is the second.

    :param starter: the name that Airflow keeps with the run.
    :param answerer: the id and the name that Airflow keeps with the answer.
    :raises AirflowFailException: it is the same person, or nobody knows who has answered.
    """
    names = {str(answerer.get(key) or "") for key in ("id", "name")} - {""}
    if not names:
        raise AirflowFailException(
            "Airflow does not know who has answered, and a second person is demanded here: nothing was touched"
        )
    if starter in names:
        raise AirflowFailException(
            f"{starter} has started this run and has answered its question, too: a second person has to say yes here. "
            "Nothing was touched: start it again, and let somebody else answer"
        )
