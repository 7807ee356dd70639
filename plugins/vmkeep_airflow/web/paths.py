"""The paths of the web view, and of the pages of Airflow that it leads to."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, urlsplit

from airflow.configuration import conf

PREFIX: Final = "/vmkeep"
OUTER: Final = "vmkeep.outer"
"""Key of a call's scope: the app of Airflow's API server, in which the web view is mounted."""


def outer_path() -> str:
    """Return the path below which Airflow's own pages are, without a slash at its end; mostly empty."""
    return urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")


def own_path(*segments: str) -> str:
    """Return the path of a page of ours. Each segment is quoted whole."""
    return "/".join((f"{outer_path()}{PREFIX}", *(quote(segment, safe="") for segment in segments)))
