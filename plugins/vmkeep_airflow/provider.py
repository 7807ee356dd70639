"""Describes this package to Airflow: hooks, operators, the bundle of DAGs, and three connection types.

Airflow reads it through the ``apache_airflow_provider`` entry point and draws the connections' forms from it, without
importing a hook. So this module imports nothing but the standard library.
"""

from __future__ import annotations

from typing import Any

_TEXT = {"type": ["string", "null"]}

VSPHERE: dict[str, Any] = {
    "connection-type": "vsphere",
    "hook-name": "VMware vSphere",
    "hook-class-name": "vmkeep_airflow.hooks.vsphere.VsphereHook",
    "ui-field-behaviour": {
        "hidden-fields": ["schema"],
        "relabeling": {"host": "vCenter or ESXi host", "login": "User"},
        "placeholders": {
            "host": "vcenter.example.com",
            "port": "443",
            "login": "vmkeep@vsphere.local",
        },
    },
    "conn-fields": {
        "thumbprint": {
            "label": "Certificate thumbprint",
            "description": "SHA-1 or SHA-256 of the server's certificate, with or without colons. It is compared "
            "before the password is sent. Copies through VDDK need it.",
            "schema": _TEXT,
        },
        "ca_file": {
            "label": "CA file",
            "description": "PEM file on the workers to verify the certificate with, where no thumbprint is pinned.",
            "schema": _TEXT,
        },
        "vddk": {
            "label": "VDDK folder",
            "description": "VMware VDDK's distribution folder on the proxies: the one that holds lib64/. Empty: the "
            "proxy's own variable VMKEEP_VDDK.",
            "schema": _TEXT,
        },
        "disk_drivers": {
            "label": "Disk drivers",
            "description": "Names of the disk drivers to try, the preferred one first, joined by colons. Empty: the "
            "proxy's own variable VMKEEP_DISK_DRIVERS, and without it all that are installed.",
            "schema": _TEXT,
        },
        "limits": {
            "label": "Limits",
            "description": "Over all runs and proxies, e.g. nfc=8, snapshots=8, free=5%: NFC sessions of one host (at "
            "most 50, or 12 before version 8; usually 8), snapshots on one datastore (usually 8), and the space that a "
            "snapshot leaves free on a datastore (usually 5%).",
            "schema": _TEXT,
        },
    },
}

VMKEEP: dict[str, Any] = {
    "connection-type": "vmkeep",
    "hook-name": "vmkeep repository",
    "hook-class-name": "vmkeep_airflow.hooks.repository.RepositoryHook",
    "ui-field-behaviour": {
        "hidden-fields": ["schema", "port", "login"],
        "relabeling": {"host": "Repository location", "password": "Passphrase, if encrypted"},
        "placeholders": {"host": "/srv/vmkeep"},
    },
    "conn-fields": {
        "catalog": {
            "label": "Catalog",
            "description": "SQLAlchemy URL of the catalog's database, e.g. postgresql+psycopg2://vmkeep@db/vmkeep, "
            "without a password. Empty: points are entered when somebody asks. It can always be rebuilt from the "
            "repository.",
            "schema": _TEXT,
        },
        "catalog_password": {
            "label": "Catalog password",
            "description": "Password of the user in the catalog's URL.",
            "schema": {**_TEXT, "format": "password"},
        },
        "aws_conn_id": {
            "label": "AWS connection",
            "description": "Id of an Airflow connection of type aws: keys or role, endpoint, region and verify for a "
            "repository on S3, and for key slots of AWS KMS. Empty: the worker's environment and profiles.",
            "schema": _TEXT,
        },
        "limit_rate": {
            "label": "Rate limit",
            "description": "Bytes per second to and from the repository, for each worker machine: 50MiB, or by time "
            "of day 20:00-06:00=unlimited,default=50MiB. Empty: as fast as it goes.",
            "schema": _TEXT,
        },
        "transfers": {
            "label": "Transfers at once",
            "description": "Number of disks that all proxies together copy into or out of the repository at the same "
            "time. Empty: any number.",
            "schema": _TEXT,
        },
        "retention": {
            "label": "Retention",
            "description": "What the DAG repository_maintenance keeps of each VM, e.g. daily 14, weekly 8, monthly 12, "
            "within 7d. Empty: every restore point.",
            "schema": _TEXT,
        },
        "time_zone": {
            "label": "Time zone",
            "description": "Where the retention's days, weeks, months and years begin, e.g. Europe/Berlin. Empty: UTC.",
            "schema": _TEXT,
        },
    },
}


GUEST: dict[str, Any] = {
    "connection-type": "vmkeep_guest",
    "hook-name": "VMware guest user",
    "hook-class-name": "vmkeep_airflow.hooks.guest.GuestHook",
    "ui-field-behaviour": {
        "hidden-fields": ["schema", "port", "host", "extra"],
        "relabeling": {"login": "User in the guest"},
        "placeholders": {"login": "backup"},
    },
}


_OPERATORS = (
    *(
        "approve_prune",
        "approve_recovery",
        "approve_restore",
        "approve_undo",
        "asking",
        "attach_disks",
        "back_up_hosts",
        "catalog",
        "check_guests",
        "check_quality",
        "check_repository",
        "choose_checks",
        "choose_exports",
        "choose_points",
        "choose_scans",
        "clean_up_restore",
    ),
    *(
        "close_run",
        "copy_disk",
        "copy_points",
        "end_undoable",
        "examine_places",
        "examine_proxy",
        "export_point",
        "extend_locks",
        "faulty_policy",
        "find_overdue",
    ),
    *("find_missed_windows", "find_overdue_hosts", "find_unproved", "find_undoable", "finish_restore"),
    *("mark_damaged", "merge", "notify_window", "plan_disks", "plan_guest_checks", "plan_restore"),
    *("plan_window", "plan_writes", "preflight", "prepare_target", "prune", "remove_snapshot", "report"),
    *("recover_site", "report_window", "run_in_drill", "scan_point", "snapshot"),
    *("start_backups", "sweep_snapshots", "tell_failed_checks", "tell_guest_checks", "verify", "verify_point"),
    "write_disk",
)


def get_provider_info() -> dict[str, Any]:
    """Return the provider description in Airflow's own schema."""
    return {
        "package-name": "vmkeep",
        "name": "vmkeep",
        "description": "Agentless image-level backup and restore of VMware vSphere VMs.",
        "integrations": [{"integration-name": "vmkeep", "tags": ["software"]}],
        "hooks": [_modules("hooks.guest", "hooks.repository", "hooks.vsphere")],
        "operators": [_modules(*(f"operators.{name}" for name in _OPERATORS))],
        "bundles": [_modules("bundle")],
        "connection-types": [VSPHERE, VMKEEP, GUEST],
    }


def _modules(*names: str) -> dict[str, Any]:
    return {"integration-name": "vmkeep", "python-modules": [f"vmkeep_airflow.{name}" for name in names]}
