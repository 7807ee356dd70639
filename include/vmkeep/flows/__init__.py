"""The steps of a backup, of a restore and of maintenance, as plain functions over plain values.

The command line calls them one after the other; Airflow's operators call one each. Every value they pass
on is small, holds no secret and survives JSON (``vmkeep.model.job.to_plain``).
"""
