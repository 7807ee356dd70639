"""Each folder of tests has a budget of time, and a run tells how much of it was used."""

import re
from pathlib import Path

import pytest

from tests.kinds import KINDS, kind_of, report

TESTS = Path(__file__).parents[2]


def test_each_folder_of_tests_has_a_budget():
    folders = {path.relative_to(TESTS).parts[0] for path in TESTS.rglob("test_*.py")} - {"soak"}
    assert [folder for folder in folders if kind_of(f"tests/{folder}/test_a.py::test_b") == "other"] == []


@pytest.mark.parametrize(
    ("nodeid", "kind"),
    [
        ("tests/integration/airflow/running/test_faults.py::test_a", "airflow"),
        ("tests/integration/flows/test_rights.py::test_a[x]", "integration"),
        ("tests/unit/model/test_extents.py::test_a", "unit"),
        ("tests/elsewhere/test_a.py::test_a", "other"),
    ],
)
def test_a_test_is_of_the_kind_of_its_folder(nodeid, kind):
    assert kind_of(nodeid) == kind


def test_the_report_adds_up_all_phases_of_all_tests_of_a_kind():
    one, two = "tests/unit/a.py::test_a", "tests/unit/a.py::test_b"
    other = "tests/elsewhere/a.py::test_a"
    (budget,) = [kind.budget for kind in KINDS if kind.name == "unit"]
    lines = report([(one, 1.0), (one, 1000.0), (two, 30.0), (other, 7.0)])
    assert [" ".join(line.split()) for line in lines] == [
        "other 1 tests 7 s, without a budget",
        f"unit 2 tests 1031 s of {budget} s, over budget",
    ]


def test_the_page_about_tests_names_each_budget():
    told = re.findall(r"^\| `(\w+)` \|.*\| (\d+) \|$", (TESTS / "README.md").read_text(), re.MULTILINE)
    assert [(name, int(seconds)) for name, seconds in told] == [(kind.name, kind.budget) for kind in KINDS]
