"""What other DAGs can be scheduled on."""

from __future__ import annotations

from airflow.sdk import Asset

RESTORE_POINTS = Asset(name="vmkeep_restore_points", uri="vmkeep://restore-points", group="vmkeep")
"""One event per sealed and verified restore point; its ``extra`` holds ``point`` and ``vm``."""
