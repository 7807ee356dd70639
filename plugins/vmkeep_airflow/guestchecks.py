"""The setting of the DAG that checks guests. Its file is read often, so nothing heavy is imported here."""

from __future__ import annotations


def marks_by_itself() -> bool:
    """Return whether runs mark what contradicts itself unless their params say otherwise.

    Airflow's setting ``[vmkeep] mark_torn_guests`` says so. It counts for the runs that backups start, because nobody
    fills in a form for them.
    """
    from airflow.configuration import conf

    chosen = conf.get("vmkeep", "mark_torn_guests", fallback="").strip()  # the compose file leaves it empty
    return bool(chosen and conf.getboolean("vmkeep", "mark_torn_guests"))
