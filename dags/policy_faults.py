"""
# Faults of policy files and recovery plans

This file makes no DAG.
If policy files or recovery plans have faults, Airflow lists them as an import error of this file,
each with file, line and column.

| | |
|---|---|
| **Started by** | nothing: Airflow reads it with its other DAG files |
| **If it fails** | mend the policy files that the error names; `vmkeep policy check` looks for faults, too |
| **Safe to re-run** | yes |

Airflow switches off every DAG of a file that has an import error.
So the windows' DAGs are made in `backup_windows.py`, of policies without faults, and go on whatever this file says.
"""

from __future__ import annotations

from vmkeep_airflow.policies import require_sound_policies

require_sound_policies()
