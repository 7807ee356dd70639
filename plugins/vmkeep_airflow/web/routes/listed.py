"""The routers of all pages, in the order in which their paths are tried."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from vmkeep_airflow.web.routes import (
    audit,
    files,
    fleet,
    hardware,
    kept,
    policies,
    recoveries,
    repositories,
    restore,
    running,
    vms,
    warnings,
    windows,
)

ROUTERS: Final[tuple[APIRouter, ...]] = (
    fleet.pages,
    fleet.answers,
    vms.pages,
    vms.answers,
    hardware.pages,
    hardware.answers,
    warnings.pages,
    warnings.answers,
    restore.pages,
    restore.answers,
    policies.pages,
    policies.answers,
    running.pages,
    running.answers,
    recoveries.pages,
    recoveries.answers,
    repositories.pages,
    repositories.answers,
    windows.pages,
    windows.answers,
    files.pages,
    files.answers,
    audit.pages,
    audit.answers,
    kept.pages,
)
