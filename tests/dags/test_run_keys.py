"""Run keys name snapshots and blobs, so they have to be short, plain and never the same twice."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from vmkeep_airflow.dagruns import DagRunId

run_ids = st.text(min_size=1, max_size=250)


def test_a_run_key_can_be_read_by_a_person():
    owner = DagRunId(dag_id="vm_backup", run_id="manual__2026-11-20T11:00:00.123456+00:00")
    assert re.fullmatch(r"manual-2026-11-20T11\.00\.00\.123456-[0-9a-f]{8}\.2", owner.run_key(2))


@given(run_ids, st.integers(1, 999))
def test_a_run_key_is_plain_and_fits_a_snapshots_name(run_id, try_number):
    key = DagRunId(dag_id="vm_backup", run_id=run_id).run_key(try_number)
    assert re.fullmatch(r"[A-Za-z0-9.-]+", key)
    assert len(key) <= 46


@given(run_ids, run_ids, st.integers(1, 9), st.integers(1, 9))
def test_two_tries_never_share_a_run_key(left, right, left_try, right_try):
    one = DagRunId(dag_id="vm_backup", run_id=left).run_key(left_try)
    other = DagRunId(dag_id="vm_backup", run_id=right).run_key(right_try)
    assert (one == other) == ((left, left_try) == (right, right_try))
