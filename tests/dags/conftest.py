"""Airflow reads its settings when it is imported: they are in place before any test module is."""

from __future__ import annotations

from demo.testing import enter_airflow_home

enter_airflow_home()
