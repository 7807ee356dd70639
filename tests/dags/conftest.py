"""Airflow reads its settings when it is imported: they are in place before any test module is."""

from __future__ import annotations

import pytest

from demo.testing import enter_airflow_home

enter_airflow_home()


@pytest.fixture(autouse=True)
def _open_memory(monkeypatch):
    """Leave the process of the tests as it is: what a task hides stays hidden, and later tests look at core dumps."""
    monkeypatch.setattr("vmkeep_airflow.site.hide_memory", lambda: None)
