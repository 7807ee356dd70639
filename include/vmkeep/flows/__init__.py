"""The steps of a backup, of a restore and of maintenance, as plain functions over plain values.

This is the only door for operators and commands. The command line calls the steps one after the other; Airflow's
operators call one each. The values that one step passes to the next are small, hold no secret and survive JSON
(``vmkeep.model.job.to_plain``).

Each module named below is one action, or the values of one, and is imported by itself, because an action loads only
the libraries that it needs. The other modules are the inside of this package.
"""

__all__ = [
    "about",
    "array_hooks",
    "attach_values",
    "backup",
    "backup_values",
    "choices",
    "complete_attach",
    "complete_runs",
    "deletion",
    "disk_images",
    "drill_commands",
    "guest_thaws",
    "held_vms",
    "host_ages",
    "host_configs",
    "host_list",
    "host_points",
    "keys",
    "leftovers",
    "listing",
    "overwritten",
    "pointcopy",
    "pointlist",
    "points",
    "policies",
    "policy_copies",
    "proof_ages",
    "pruning",
    "recovery",
    "recovery_order",
    "recovery_points",
    "recovery_records",
    "repositories",
    "restore",
    "restore_ledger",
    "restore_mapping",
    "restore_request",
    "restore_values",
    "restore_wording",
    "resumed_restores",
    "retention",
    "rights",
    "stopping",
    "sweep",
    "transports",
    "undo",
    "undo_values",
    "undo_wording",
    "upkeep",
    "vm_groups",
    "windows",
    "workers",
]  # fmt: skip
