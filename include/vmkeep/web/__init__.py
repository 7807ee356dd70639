"""The pages of the web view as pure functions: from answers of the catalog to view models, and from those to HTML.

A view model is a frozen value that holds every word and number of its page. So the page and its JSON twin tell the
same, and tests look at values. ``fleet``, ``vm``, ``hardware``, ``policies``, ``recoveries`` and ``capacity`` make the
models, ``charts`` draws inline SVG, ``forms``, ``restore_fields``, ``restore``, ``restore_plan`` and
``restore_started`` are the restore wizard, ``files`` is the browser of a point's files, ``running`` is everything in
``work``, with ``task_rows``, ``windows`` is one day's windows, drawn by ``day_bars``, ``audit`` is who did what, in the
words of ``audit_words``, ``states`` has the words of states, ``words`` writes times, sizes and names, and ``rendering``
fills the templates.
Nothing here knows Airflow, a request or a clock.
"""

from vmkeep.web.audit import (
    AUDIT_DAYS,
    AUDIT_ROWS,
    SHEET_ROWS,
    AuditEntry,
    AuditPage,
    AuditQuery,
    audit_page,
    audit_sheet,
    begin_of,
)
from vmkeep.web.audit_words import (
    ASSET_EVENTS,
    BACKFILL_EVENTS,
    DAGS,
    FETCHED,
    GONE,
    LIMIT,
    POOL_EVENTS,
    REFUSED,
    START,
    AuditKind,
    events_of,
    kind_of_event,
    kind_of_run,
    only_planned,
)
from vmkeep.web.capacity import RepositoriesPage, repositories_page
from vmkeep.web.day_bars import bounds_of
from vmkeep.web.files import FILES_A_PAGE, MOST_FOUND, FilesChoice, FilesPage, files_page, pattern_of
from vmkeep.web.fleet import FleetPage, FleetQuery, FleetSort, fleet_page
from vmkeep.web.forms import FieldGroup, Given, faults_of, filled
from vmkeep.web.hardware import HardwarePage, hardware_page
from vmkeep.web.policies import PoliciesPage, policies_page
from vmkeep.web.recoveries import RecoveriesPage, recoveries_page
from vmkeep.web.rendering import STATIC, Frame, StaticFile, render
from vmkeep.web.restore import (
    PointHead,
    RestoreForm,
    checked,
    conf_of,
    form_of,
    given_of,
    head_of,
    refused,
    without_dry_run,
)
from vmkeep.web.restore_fields import RestoreKind, fields_of, said_in_form
from vmkeep.web.restore_plan import (
    PLANNED_BY,
    PlanRun,
    PlanState,
    RestorePlanPage,
    kind_of,
    overwrites,
    restore_plan_page,
    state_of,
)
from vmkeep.web.restore_started import RestoreRun, RestoreStartedPage, restore_started_page
from vmkeep.web.running import RUNS, TASKS, RunningPage, RunsShown, running_page
from vmkeep.web.states import RestoreState, VmState
from vmkeep.web.vm import POINTS_A_PAGE, VmPage, vm_page
from vmkeep.web.warnings import WarningsPage, warnings_page
from vmkeep.web.window_groups import BackupGroup, ListedBackups, WindowBackup, WindowPlanned, WindowSeen
from vmkeep.web.windows import WindowsPage, windows_page
from vmkeep.web.words import plain
from vmkeep.web.work import WORKING_STATES, AtWork, PoolUse, RateLimit, SnapshotAtWork, WorkRun, WorkTask

__all__ = [
    "ASSET_EVENTS",
    "AUDIT_DAYS",
    "AUDIT_ROWS",
    "BACKFILL_EVENTS",
    "DAGS",
    "FETCHED",
    "FILES_A_PAGE",
    "GONE",
    "LIMIT",
    "MOST_FOUND",
    "PLANNED_BY",
    "POINTS_A_PAGE",
    "POOL_EVENTS",
    "REFUSED",
    "RUNS",
    "SHEET_ROWS",
    "START",
    "STATIC",
    "TASKS",
    "WORKING_STATES",
    "AtWork",
    "AuditEntry",
    "AuditKind",
    "AuditPage",
    "AuditQuery",
    "BackupGroup",
    "FieldGroup",
    "FilesChoice",
    "FilesPage",
    "FleetPage",
    "FleetQuery",
    "FleetSort",
    "Frame",
    "Given",
    "HardwarePage",
    "ListedBackups",
    "PlanRun",
    "PlanState",
    "PointHead",
    "PoliciesPage",
    "PoolUse",
    "RateLimit",
    "RecoveriesPage",
    "RepositoriesPage",
    "RestoreForm",
    "RestoreKind",
    "RestorePlanPage",
    "RestoreRun",
    "RestoreStartedPage",
    "RestoreState",
    "RunningPage",
    "RunsShown",
    "SnapshotAtWork",
    "StaticFile",
    "VmPage",
    "VmState",
    "WarningsPage",
    "WindowBackup",
    "WindowPlanned",
    "WindowSeen",
    "WindowsPage",
    "WorkRun",
    "WorkTask",
    "audit_page",
    "audit_sheet",
    "begin_of",
    "bounds_of",
    "checked",
    "conf_of",
    "events_of",
    "faults_of",
    "fields_of",
    "files_page",
    "filled",
    "fleet_page",
    "form_of",
    "given_of",
    "hardware_page",
    "head_of",
    "kind_of",
    "kind_of_event",
    "kind_of_run",
    "only_planned",
    "overwrites",
    "pattern_of",
    "plain",
    "policies_page",
    "recoveries_page",
    "refused",
    "render",
    "repositories_page",
    "restore_plan_page",
    "restore_started_page",
    "running_page",
    "said_in_form",
    "state_of",
    "vm_page",
    "warnings_page",
    "windows_page",
    "without_dry_run",
]
