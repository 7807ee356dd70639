"""The rule that a second person has to say yes before something is lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException

from vmkeep.model.site import Site
from vmkeep_airflow.dagruns import own_dag_run, owner_text


def is_demanded() -> bool:
    """Return whether an installation demands a second person: Airflow's setting ``[vmkeep] second_person``."""
    from airflow.configuration import conf

    chosen = conf.get("vmkeep", "second_person", fallback="").strip()  # the compose file leaves it empty
    return bool(chosen and conf.getboolean("vmkeep", "second_person"))


def require(starter: str, answerer: Mapping[str, Any]) -> None:
    """Return if another person than the one who started a run has answered.

    :param starter: the name that Airflow keeps with the run, see :func:`require_first`.
    :param answerer: the id and the name that Airflow keeps with the answer.
    :raises AirflowFailException: it is the same person, or nobody knows who has answered.
    """
    names = {str(answerer.get(key) or "").casefold() for key in ("id", "name")} - {""}  # some log-ins ignore case
    if not names:
        raise AirflowFailException(
            "Airflow does not know who has answered, and a second person is demanded here: nothing was touched"
        )
    if starter.casefold() in names:
        raise AirflowFailException(
            f"{starter} has started this run and has answered its question, too: a second person has to say yes here. "
            "Nothing was touched: start it again, and let somebody else answer"
        )


def require_first(run: Any) -> str:
    """Return the person with whom a run began, from whom the second one can be told.

    Whoever has changed a rule would else wait for the run of the night, let a program start a run, or clear the run of
    somebody else, and say the yes alone.

    :param run: Airflow's run of the task.
    :raises AirflowFailException: nobody is known by name, or somebody has cleared the run, whom Airflow does not tell.
    """
    if run.triggering_user_name and not run.clear_number:
        return str(run.triggering_user_name)
    why = "this run was cleared" if run.triggering_user_name else "nobody who is known by name has started this run"
    raise AirflowFailException(
        f"a second person has to say yes here, and {why}, so that the first one is not known. Nothing was touched: "
        "start it by hand; another person answers"
    )


def forget(site: Site, context: Context, shown: str) -> None:
    """Forget a yes to a thing in this run: the question is put again, or the thing is done.

    A yes is to one deed. Else one person alone could clear the task that acts, or start a run of the same id again.
    """
    if not is_demanded():
        return
    from vmkeep.flows.second_yes import forget_yes

    forget_yes(site, run=owner_text(own_dag_run(context["ti"])), shown=shown)


def keep(site: Site, context: Context, shown: str, by: str) -> None:
    """Keep the yes of a second person to the thing that was shown, for the task of this run that acts."""
    from vmkeep.flows.second_yes import keep_yes

    keep_yes(site, run=owner_text(own_dag_run(context["ti"])), shown=shown, by=by)


def require_kept(site: Site, context: Context, shown: str) -> str | None:
    """Return the second person who has said yes to this very thing in this run; ``None``: none is demanded.

    The repository is asked, because whoever may edit the values of tasks could write an answer there.

    :raises AirflowFailException: nobody has, as far as the repository knows.
    """
    from vmkeep.flows.second_yes import kept_yes

    if not is_demanded():
        return None
    by = kept_yes(site, run=owner_text(own_dag_run(context["ti"])), shown=shown)
    if by is None:
        raise AirflowFailException(
            "a second person has to say yes here, and the repository knows of no yes in this run that has not been "
            "used, whatever task approve has handed over: nothing was touched. Trigger a new run, and let somebody "
            "else answer its question"
        )
    return by
