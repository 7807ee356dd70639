"""The benchmark of many VMs says which promise was broken, and draws what it saw."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from bench.scale.judging import Outcome, promises
from bench.scale.plot import Panel, svg
from bench.scale.sampling import Sample
from bench.scale.site import Size
from demo.airflow_home import AirflowHome

DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
SIZE = Size(vms=2, disk_mib=64, data_mib=1, backups_at_once=8, copies_at_once=4, nfc_sessions=4, parallelism=6)
KINDS = ("tasks", "api-server", "scheduler", "dag-processor", "triggerer", "lab")


def sample(seconds: float, **changes) -> Sample:
    given = {
        "seconds": seconds, "snapshots": 1, "nfc": {}, "nfc_most": {"esx01": 2}, "nfc_refused": 0, "sessions": 1,
        "calls": {"Login": 1, "RetrievePropertiesEx": int(seconds), "host.GET": 9 * int(seconds)},
        "runs": {"success": 2}, "tasks": {}, "cpu": dict.fromkeys(KINDS, seconds / 10), "copying": seconds / 20,
        "scheduler_bytes": 200 << 20,
    }  # fmt: skip
    return Sample(**(given | changes))


GOOD = Outcome(
    size=SIZE, samples=[sample(0), sample(4), sample(8)], report={"done": ["a", "b"]}, window="success",
    points={"a": 1, "b": 1},
)  # fmt: skip


def broken(outcome: Outcome) -> list[str]:
    return [one.what for one in promises(outcome) if not one.kept]


def test_a_good_window_breaks_no_promise():
    assert broken(GOOD) == []


def test_the_price_of_a_vm_is_airflows_without_that_of_the_lab_and_of_hosts():
    assert GOOD.cpu_of_a_vm == pytest.approx(5 * 0.8 / 2)
    assert GOOD.copying_of_a_vm == pytest.approx(0.4 / 2)
    assert GOOD.cpu_outside_of_copying == pytest.approx(1.8)
    assert GOOD.calls == {"RetrievePropertiesEx": 8}


def test_copying_alone_breaks_no_promise():
    assert broken(replace(GOOD, samples=[sample(0), sample(80, copying=36)])) == []


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"points": {"a": 1}}, "VMs with a verified point"),
        ({"report": {"done": ["a"]}}, "VMs with a verified point"),
        ({"window": "failed"}, "end of the window"),
        ({"samples": [sample(0), sample(8, snapshots=9), sample(9)]}, "VMs with an open snapshot"),
        ({"samples": [sample(0), sample(8, nfc_most={"esx01": 5})]}, "NFC sessions of one host"),
        ({"samples": [sample(0), sample(8, nfc_refused=1)]}, "disks that a host refused to open"),
        ({"samples": [sample(0), sample(1), sample(8, scheduler_bytes=300 << 20)]}, "scheduler's memory"),
        ({"samples": [sample(0), sample(80)]}, "CPU seconds of a VM outside of copying"),
        ({"samples": [sample(0), sample(8, calls={"Login": 99})]}, "vCenter calls of a VM"),
    ],
)
def test_a_broken_promise_is_named(changes, what):
    assert broken(replace(GOOD, **changes)) == [what]


def test_a_drawing_is_one_that_programs_can_read():
    panels = [Panel(title="a < b", curves={"x & y": [0, 5, 2], "z": [0, 0, 0]}, limit=8)]

    drawing = ET.fromstring(svg([0.0, 1.0, 2.0], panels))

    assert len(drawing.findall("{http://www.w3.org/2000/svg}polyline")) == 2


@pytest.mark.parametrize("patience", [60, 10])
def test_a_home_keeps_the_database_that_it_was_given(tmp_path, patience):
    home = AirflowHome(tmp_path)
    assert home.environment(patience=patience)[DATABASE] == f"sqlite:///{tmp_path}/airflow.db?timeout={patience}"

    home.set("database", "sql_alchemy_conn", "postgresql://db/airflow")

    assert home.environment(patience=patience)[DATABASE] == "postgresql://db/airflow"
